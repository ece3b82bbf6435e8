import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.processes import run as start

ROOT = Path(__file__).resolve().parents[2]
# Prints at once and at the end, and leaves a file that says how far it came.
PROGRAM = """
import sys
from pathlib import Path
from utils.command import output_dropped, run_command
def main():
    print("one", flush=True)
    print("two", file=sys.stderr)
    print("three")
    Path(sys.argv[1]).write_text(f"dropped: {output_dropped()}")
    return int(sys.argv[2])
run_command(main)
"""


def run(tmp_path: Path, code: int, stdout: int, stderr: int) -> tuple[int, str | None, str]:
    """Exit code, standard error, and what the program left."""
    done = tmp_path / "done"
    command = [sys.executable, "-c", PROGRAM, str(done), str(code)]
    ended = start(command, cwd=ROOT, stdout=stdout, stderr=stderr)
    return ended.returncode, ended.stderr, done.read_text()


@pytest.fixture
def unread() -> Iterator[int]:
    """A pipe whose reader has gone."""
    reader, writer = os.pipe()
    os.close(reader)
    yield writer
    os.close(writer)


@pytest.mark.parametrize("code", [0, 1])
def test_a_program_whose_output_is_not_read_goes_on(tmp_path: Path, unread: int, code: int) -> None:
    assert run(tmp_path, code, unread, subprocess.PIPE) == (code, "two\n", "dropped: True")
    assert run(tmp_path, code, unread, unread) == (code, None, "dropped: True")
    assert run(tmp_path, code, subprocess.DEVNULL, unread) == (code, None, "dropped: False")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a device that is always full")
def test_a_full_device_is_said_once_and_the_program_goes_on(tmp_path: Path) -> None:
    line = "error: standard output cannot be written (No space left on device)\n"
    with Path("/dev/full").open("w") as full:
        assert run(tmp_path, 0, full.fileno(), subprocess.PIPE) == (2, f"two\n{line}", "dropped: True")
        assert run(tmp_path, 1, full.fileno(), full.fileno()) == (1, None, "dropped: True")


@pytest.mark.skipif(sys.platform == "win32", reason="a shell's redirection")
def test_a_closed_standard_output_is_no_error(tmp_path: Path) -> None:
    command = f'"{sys.executable}" -c "$0" done 0 >&-'
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    ended = start(["sh", "-c", command, PROGRAM], cwd=tmp_path, env=environment)
    assert (ended.returncode, ended.stderr) == (0, "two\n")
