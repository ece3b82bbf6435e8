"""utils.command: how a command ends. tests/test_commands.py has all commands."""

import errno
import os
import sys
from pathlib import Path

import pytest
import torch

from models.errors import WeightsError
from tests.processes import run
from utils.command import run_command

SMALLER = "use smaller batches or crops, or fewer workers"


@pytest.mark.parametrize(
    ("raised", "code", "line"),
    [
        (WeightsError("y: damaged"), 2, "error: y: damaged"),
        (KeyboardInterrupt(), 130, "stopped"),
        (OSError(errno.ENOSPC, "No space left on device", "a.csv"), 2, "error: a.csv: No space left on device"),
        (MemoryError("Unable to allocate 9 PiB"), 2, f"error: out of memory (Unable to allocate 9 PiB); {SMALLER}"),
    ],
)
def test_a_user_error_and_a_stop_give_a_one_line_message(
    raised: BaseException, code: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def command() -> None:
        raise raised

    with pytest.raises(SystemExit) as ended:
        run_command(command)
    assert ended.value.code == code
    assert capsys.readouterr().err == f"{line}\n"


def test_memory_that_pytorch_cannot_allocate_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run_command(lambda: int(torch.empty(2**52, dtype=torch.uint8)[0]))
    assert capsys.readouterr().err.startswith("error: out of memory (you tried to allocate 4503599627370496 bytes")


def test_other_exceptions_keep_their_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        run_command(lambda: 1 // 0)


# Prints at once and at the end, and leaves a file that says how far it came.
PROGRAM = """
import sys
from pathlib import Path
from utils.command import output_dropped, run_command
def main():
    print("one", flush=True)
    print("two", file=sys.stderr)
    print("three")
    Path("done").write_text(f"dropped: {output_dropped()}")
    return 1
run_command(main)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="a shell's redirection")
@pytest.mark.parametrize(("redirection", "dropped"), [("| true", True), (">&-", False)])
def test_a_program_whose_output_is_not_read_goes_on(tmp_path: Path, redirection: str, dropped: bool) -> None:
    """A closed standard output is None in Python."""
    command = f'{{ "{sys.executable}" -c "$0"; echo $? > code; }} {redirection}'
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    ended = run(["sh", "-c", command, PROGRAM], cwd=tmp_path, env=environment)
    assert ended.stderr == "two\n" and (tmp_path / "code").read_text() == "1\n"
    assert (tmp_path / "done").read_text() == f"dropped: {dropped}"
