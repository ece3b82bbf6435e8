"""utils.runtime.beside: the main program goes on, and gets the result once it asks."""

import os
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.processes import run, wait_until
from utils.runtime.beside import Beside

ROOT = Path(__file__).resolve().parents[3]


def wait_for(path: Path) -> str:
    wait_until(path.exists)
    return "done"


def multiply(seconds: float) -> None:
    end = time.monotonic() + seconds
    matrix = np.ones((500, 500))
    while time.monotonic() < end:
        matrix @ matrix


def test_the_program_goes_on_and_gets_the_result(tmp_path: Path) -> None:
    work = Beside(wait_for, tmp_path / "sign")
    assert not work.ended()
    (tmp_path / "sign").touch()
    assert work.result() == "done"


def test_a_killed_process_has_no_result() -> None:
    work = Beside(time.sleep, 600)
    work._process.kill()
    assert work.result() is None


def test_a_program_that_ends_does_not_wait() -> None:
    program = "import time; from utils.runtime.beside import Beside; Beside(time.sleep, 600); print('over')"
    ended = run([sys.executable, "-c", program], cwd=ROOT)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "over\n", "")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_a_fork_does_not_wait_for_the_work() -> None:
    """In a thread, it did for ever, in one of some tens of forks."""
    work = Beside(multiply, 10.0)
    signal.alarm(120)
    try:
        for _ in range(50):
            child = os.fork()
            if child == 0:
                os._exit(0)
            os.waitpid(child, 0)
    finally:
        signal.alarm(0)
        work.stop()
