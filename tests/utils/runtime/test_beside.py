"""utils.runtime.beside: the main program goes on, and gets the result once it asks."""

import os
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.processes import run, started, wait_until
from utils.runtime.beside import Beside

ROOT = Path(__file__).resolve().parents[3]


def wait_for(path: Path) -> str:
    wait_until(path.exists)
    return "done"


def tick(path: Path) -> None:
    while True:
        path.touch()
        time.sleep(0.05)


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


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGKILL")
def test_it_ends_with_a_program_that_is_killed(tmp_path: Path) -> None:
    """The drawing of a killed training went on, and could write into the experiment that a resumed one had taken up."""
    program = (
        "import os, sys, time; from pathlib import Path; from tests.utils.runtime.test_beside import tick; "
        "from utils.runtime.beside import Beside; Beside(tick, Path(sys.argv[1])); time.sleep(600)"
    )
    ticking = tmp_path / "ticking"
    with started([sys.executable, "-c", program, str(ticking)], cwd=ROOT) as process:
        wait_until(ticking.exists)
        process.kill()
        process.wait(60)
        time.sleep(1)
        ticking.unlink()
        time.sleep(1)
        assert not ticking.exists()


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
