"""Resuming: after kills and stops a training ends as if nothing had happened."""

import os
import signal
import time
from pathlib import Path

from tests.contract.runs import (
    RESUME,
    ROOT,
    STEPS,
    assert_same_training,
    assert_whole,
    end,
    environment,
    free_port,
    history,
    needs_linux,
    needs_posix,
    quick,
    ranks,
    running,
    script,
    training,
)
from tests.processes import LIMIT, one_at_a_time, run, wait_until

pytestmark = needs_posix


def progress(folder: Path, name: str) -> int:
    metrics = folder / "experiments" / name / "metrics.csv"
    return metrics.stat().st_mtime_ns if metrics.exists() else 0


@needs_linux
def test_one_process_stopped_and_killed_and_left_by_its_reader(folder: Path, alone: str) -> None:
    """Stopped by SIGTERM and by Ctrl-C, killed while it writes a checkpoint and between two steps, then unheard."""
    options = training("stopped", *RESUME, "--training.num_workers", 1)
    for number in (signal.SIGTERM, signal.SIGINT):
        before = progress(folder, "stopped")
        with running(folder, "main.py", *options) as process:
            wait_until(lambda: progress(folder, "stopped") != before, process)  # noqa: B023
            for _ in range(2):  # to all processes, as a terminal does, and again, as `timeout` does
                os.killpg(process.pid, number)
                time.sleep(0.05)
            ended = end(process)
        assert ended.code == 128 + number, ended.err
        assert "--experiment_name stopped --training.resume_training true" in ended.err and "Traceback" not in ended.err
        saved = [path.name for path in (folder / "experiments" / "stopped" / "pretrain").glob("last_epoch_*")]
        steps = [int(row["step"]) for row in history(folder, "stopped") if row["loss"]]
        epoch, done = divmod(max(steps) - 1, STEPS)
        assert saved == [f"last_epoch_{epoch}_step_{done + 1}.pth"]  # the step that it had reached
    pretrain = folder / "experiments" / "stopped" / "pretrain"
    for condition in (lambda: any(pretrain.glob(".*.partial")), None):
        before = progress(folder, "stopped")
        with running(folder, "main.py", *options) as process:
            wait_until(condition or (lambda: progress(folder, "stopped") != before), process)  # noqa: B023
            process.kill()
            process.wait(LIMIT)
    with Path("/dev/full").open("w") as full:  # a log disk that takes nothing; of errors, nobody reads the pipe
        reader, writer = os.pipe()
        os.close(reader)
        done = run(script("main.py", *options), cwd=folder, env=environment(), stdout=full, stderr=writer)
        os.close(writer)
    assert done.returncode == 2  # because of the output
    assert_same_training(folder, alone, "stopped")
    assert_whole(folder / "experiments" / "stopped")
    results = [(folder / "experiments" / name / "results.csv").read_bytes() for name in (alone, "stopped")]
    assert results[0] == results[1]


def test_resuming_with_another_method_is_refused_and_with_another_place_is_not(folder: Path, alone: str) -> None:
    before = history(folder, alone)
    refused = quick(folder, "main.py", *training(alone, *RESUME, "--training.lr", 0.5, "--training.num_workers", 1))
    assert "training.lr" in refused.error and "0.5" in refused.error and "num_workers was" not in refused.error
    again = quick(folder, "main.py", *training(alone))
    assert "--training.resume_training true" in again.error
    assert history(folder, alone) == before


@needs_linux
@one_at_a_time
def test_torchrun_stopped_and_killed(folder: Path) -> None:
    """Stopped by SIGTERM and by Ctrl-C; then one process is killed, which ends the other within a minute."""

    def start(name: str):
        launcher = ("--nproc_per_node=2", "--master_addr=127.0.0.1", f"--master_port={free_port()}")
        options = (ROOT / "main.py", *training(name, *RESUME, "--training.epochs", 1))
        return running(folder, "torch.distributed.run", *launcher, *options)

    with ranks([folder] * 2, "main.py", *training("together", "--training.epochs", 1)) as processes:
        assert [end(process).code for process in processes] == [0, 0]
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGKILL):
        before = progress(folder, "apart")
        with start("apart") as process:
            wait_until(lambda: progress(folder, "apart") != before, process)  # noqa: B023
            if number == signal.SIGKILL:
                os.kill(rank_process(process.pid, 1), number)
                since = time.monotonic()
            else:
                process.send_signal(number)
            ended = end(process)
        assert ended.code != 0
        if number == signal.SIGKILL:
            assert time.monotonic() - since < 120  # a minute on quiet cores
            lines = [line for line in ended.err.splitlines() if line.startswith("error: ")]
            assert len(lines) == 1 and "--experiment_name apart --training.resume_training true" in lines[0], ended.err
        else:
            assert "--experiment_name apart --training.resume_training true" in ended.err
    with start("apart") as process:
        ended = end(process)
    assert ended.code == 0, ended.err
    assert_same_training(folder, "together", "apart")


def rank_process(parent: int, rank: int) -> int:
    """The process of that rank which torchrun started."""
    for entry in Path("/proc").iterdir():
        try:
            fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
            variables = (entry / "environ").read_bytes().split(b"\0")
        except (OSError, IndexError):
            continue
        if int(fields[1]) == parent and f"RANK={rank}".encode() in variables:
            return int(entry.name)
    raise AssertionError(f"torchrun {parent} has no process of rank {rank}")
