import importlib

import pytest

from benchmarks.__main__ import COMMANDS, page


def test_the_page_has_each_benchmarks_last_line_as_its_figure() -> None:
    text = page([("Step", "benchmarks.training", "slow 2 s\nours / plain: 0.44"), ("Score", "b.c --x", "0.69")])
    assert "| Step | ours / plain: 0.44 | `python -m benchmarks.training` |" in text
    assert "| Score | 0.69 | `python -m b.c --x` |" in text
    assert "slow 2 s\nours / plain: 0.44\n```" in text


@pytest.mark.parametrize(("title", "command"), COMMANDS)
def test_every_command_is_a_module_with_these_options(
    title: str, command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    name, *options = command.split()
    monkeypatch.setattr("sys.argv", [name, *options, "--help"])
    with pytest.raises(SystemExit) as ended:
        importlib.import_module(name).main()
    assert ended.value.code == 0
    printed = capsys.readouterr().out
    assert all(option in printed for option in options if option.startswith("--"))
