import os
import sys
from pathlib import Path

import pytest

from models.errors import UserError, WeightsError
from tests.processes import run
from utils.command import run_command


@pytest.mark.parametrize(
    ("raised", "code", "line"),
    [
        (UserError("x: no such folder"), 2, "error: x: no such folder"),
        (WeightsError("y: damaged"), 2, "error: y: damaged"),
        (KeyboardInterrupt(), 130, "stopped"),
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
