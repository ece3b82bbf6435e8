import pytest

from utils.errors import UserError, run_command


@pytest.mark.parametrize(
    ("raised", "code", "line"),
    [(UserError("x: no such folder"), 2, "error: x: no such folder"), (KeyboardInterrupt(), 130, "stopped")],
)
def test_a_mistake_and_a_stop_are_one_line(
    raised: BaseException, code: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def command() -> None:
        raise raised

    with pytest.raises(SystemExit) as ended:
        run_command(command)
    assert ended.value.code == code
    assert capsys.readouterr().err == f"{line}\n"


def test_a_programmers_mistake_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        run_command(lambda: 1 // 0)
