"""Data-loading workers: no hang at the exit, none without shared memory, and Ctrl-C while they start is clean."""

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from tests.contract.runs import ROOT, end, environment, needs_linux, script
from tests.processes import LIMIT, one_at_a_time, run, started, wait_until

pytestmark = [needs_linux, one_at_a_time]
LITTLE_SHARED_MEMORY = ["unshare", "-rm", "sh", "-c", 'mount -t tmpfs -o size=1m tmpfs /dev/shm && exec "$@"', "-"]


def scoring(folder: Path, released: Path, *options: object) -> list[str]:
    weights = ("--weights_dir", released, "--crop_size", 64, "--device", "cpu", "--num_workers", 2)
    return script("single_image_inference.py", "--img_path", folder / "data" / "KADIS700", *weights, *options)


def children(parent: int) -> list[int]:
    """The Python processes that a process has started, and those that they have."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            of = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
            if of == parent and b"python" in (entry / "cmdline").read_bytes():
                found += [int(entry.name), *children(int(entry.name))]
        except (OSError, IndexError):
            continue
    return found


def lasting_children(parent: int) -> set[int]:
    """Its children without those that only run another program, such as `uname` during an import."""
    before = children(parent)
    time.sleep(0.05)
    return set(before) & set(children(parent))


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_ctrl_c_while_workers_start(folder: Path, released: Path, tmp_path: Path, method: str) -> None:
    text = f"import multiprocessing\nmultiprocessing.set_start_method({method!r})\n"
    (tmp_path / "sitecustomize.py").write_text(text, encoding="utf-8")
    variables = environment(PYTHONPATH=os.pathsep.join([str(tmp_path), str(ROOT)]))
    with started(scoring(folder, released), cwd=folder, env=variables) as process:
        wait_until(lambda: len(lasting_children(process.pid)) > 0 or process.poll() is not None)
        left = children(process.pid)
        os.killpg(process.pid, signal.SIGINT)  # a terminal sends it to all of them
        ended = end(process)
        assert (ended.code, ended.err.splitlines()[-1:]) == (130, ["stopped"]), ended.err
        assert "Traceback" not in ended.err
        wait_until(lambda: not any(Path(f"/proc/{number}").exists() for number in left))


def test_a_reader_that_leaves_does_not_leave_the_workers(folder: Path, released: Path) -> None:
    with started(scoring(folder, released, "--batch_size", 1), cwd=folder, env=environment()) as process:
        assert process.stdout is not None and "ref_imgs" in process.stdout.readline()
        left = children(process.pid)
        process.stdout.close()  # as by `| head -1`
        assert process.wait(LIMIT) == 0
        assert len(left) >= 2
        wait_until(lambda: not any(Path(f"/proc/{number}").exists() for number in left))


def can_mount() -> bool:
    return sys.platform == "linux" and run([*LITTLE_SHARED_MEMORY, "true"]).returncode == 0


@pytest.mark.skipif(not can_mount(), reason="needs Linux and the right to mount in a namespace of its own")
def test_too_little_shared_memory_is_one_line(folder: Path, released: Path) -> None:
    command = [*LITTLE_SHARED_MEMORY, *scoring(folder, released, "--batch_size", 8)]
    ended = run(command, cwd=folder, env=environment())
    assert ended.returncode == 2 and "Traceback" not in ended.stderr, ended.stderr
    assert "--shm-size" in ended.stderr.splitlines()[-1]
