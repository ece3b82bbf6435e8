import errno
import os
import sys
from pathlib import Path

import pytest
import torch

from models.errors import UserError, WeightsError
from tests.processes import run
from utils.command import run_command

SMALLER = "use smaller batches or crops, or fewer workers"


@pytest.mark.parametrize(
    ("raised", "code", "line"),
    [
        (UserError("x: no such folder"), 2, "error: x: no such folder"),
        (WeightsError("y: damaged"), 2, "error: y: damaged"),
        (KeyboardInterrupt(), 130, "stopped"),
        (OSError(errno.ENOSPC, "No space left on device", "a.csv"), 2, "error: a.csv: No space left on device"),
        (MemoryError("Unable to allocate 9 PiB"), 2, f"error: out of memory (Unable to allocate 9 PiB); {SMALLER}"),
        (MemoryError(), 2, f"error: out of memory (no details); {SMALLER}"),
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


@pytest.mark.parametrize(
    "command",
    [
        "single_image_inference.py --img_path assets/01.png --device cpu",
        "test.py --config configs/quickstart.yaml --eval_type arniqa",
    ],
)
def test_the_scripts_report_weights_that_are_not_there_in_one_line(command: str) -> None:
    root = Path(__file__).resolve().parents[2]
    environment = os.environ | {"ARNIQA_WEIGHTS_DIR": "nowhere"}
    ended = run([sys.executable, *command.split()], cwd=root, env=environment)
    assert ended.returncode == 2
    assert len(ended.stderr.splitlines()) == 1 and "nowhere" in ended.stderr
