"""Two processes without a shared folder, as on two machines: each has the data, only the first has the experiment."""

import os
import shutil
import socket
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.processes import LIMIT, one_at_a_time, started
from tests.test_train import ROOT, folder

__all__ = ["folder"]
DYING_WORKER = """
import os, signal, sys
sys.path.insert(0, {root!r})
from data.kadis700 import KADIS700Dataset
read, left = KADIS700Dataset.__getitem__, [10]  # samples of the second epoch
def read_or_die(self, position):
    left[0] -= position[0] == 1
    if left[0] == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return read(self, position)
KADIS700Dataset.__getitem__ = read_or_die
"""
pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="gloo over TCP needs libuv, which Windows builds lack"),
    one_at_a_time,
]


@pytest.fixture
def machines(folder: Path, tmp_path: Path) -> list[Path]:
    for name in ("first", "second"):
        shutil.copytree(folder / "data", tmp_path / name / "data")
        shutil.copy(folder / "config.yaml", tmp_path / name)
    return [tmp_path / "first", tmp_path / "second"]


def run(machines: list[Path], script: str, *options: str) -> list[tuple[int, str, str]]:
    """Exit code, output and errors of the script on each machine."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, str(ROOT / script), "--config", "config.yaml", "--experiment_name", "shared", *options]
    with ExitStack() as running:
        processes = []
        for rank, machine in enumerate(machines):
            launched: dict[str, object] = {
                "RANK": rank,
                "WORLD_SIZE": 2,
                "LOCAL_RANK": 0,
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": port,
            }
            launched |= {"OMP_NUM_THREADS": 1, "PYTHONPATH": machine}
            environment = os.environ | {name: str(value) for name, value in launched.items()}
            processes.append(running.enter_context(started(command, cwd=machine, env=environment)))
        outputs = [process.communicate(timeout=LIMIT) for process in processes]
    return [(p.returncode, out, err) for p, (out, err) in zip(processes, outputs, strict=True)]


def test_a_worker_that_dies_on_one_machine_ends_both_with_the_state_saved(machines: list[Path]) -> None:
    """The first one's state was lost, and the second one said that it was saved."""
    (machines[1] / "sitecustomize.py").write_text(DYING_WORKER.format(root=str(ROOT)))
    options = ("--training.num_workers", "1", "--training.checkpoint_frequency", "0")
    first, second = run(machines, "main.py", *options)
    assert (first[0], second[0]) == (2, 2), (first, second)
    assert "another process of this training ended; the state is saved: resume with" in first[2]
    assert "a data-loading worker died" in second[2] and "the first process saves the state" in second[2]
    assert "Traceback" not in first[2] + second[2]
    (checkpoint,) = (machines[0] / "experiments" / "shared" / "pretrain").glob("last_epoch_*.pth")
    assert checkpoint.name in [f"last_epoch_1_step_{step}.pth" for step in range(1, 5)]
