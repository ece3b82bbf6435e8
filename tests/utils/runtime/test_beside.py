"""utils.runtime.beside: the main program goes on, and gets the result once it asks."""

import subprocess
import sys
import threading
from pathlib import Path

from utils.runtime.beside import Beside

ROOT = Path(__file__).resolve().parents[3]


def test_the_program_goes_on_and_gets_the_result() -> None:
    may_end = threading.Event()
    work = Beside(lambda: may_end.wait(60) and "done")
    assert not work.ended()
    may_end.set()
    assert work.result() == "done" and work.ended()


def test_a_program_that_ends_does_not_wait() -> None:
    program = "import time; from utils.runtime.beside import Beside; Beside(lambda: time.sleep(600)); print('over')"
    ended = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "over\n", "")
