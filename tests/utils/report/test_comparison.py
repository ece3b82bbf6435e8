import sys
from pathlib import Path

import pytest

from models.errors import UserError
from tests.contract.runs import quick
from tests.utils.evaluation.test_comparison import frame, with_results
from utils.report import __main__


def test_a_comparison_is_a_table_and_a_page(tmp_path: Path) -> None:
    for seed, name in enumerate(("one", "two")):
        with_results(tmp_path / "experiments", name, live=frame(0.5 + seed / 2, seed), **{"<b>own": frame(0.5, seed)})
    ended = quick(tmp_path, "utils.report", "compare", "one", "two")
    assert ended.code == 0, ended.err
    assert "all 2" in ended.out and "live" in ended.out and "difference" in ended.out
    text = (tmp_path / "experiments" / "comparison.html").read_text(encoding="utf-8")
    for shown in (ended.out, text):
        assert "live: scores of unstated origin" in shown
    assert "Difference to one" in text and "all 2" in text and "<b>own" not in text
    assert text.count("<svg") == 2 and "Plotly.newPlot" not in text


def test_mistakes_are_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with_results(tmp_path / "experiments", "one", live=frame(0.5))
    for arguments, message in (
        ([], "--experiment_name: missing"),
        (["compare", "one"], "compare: found 1"),
        (["compare", "one", "one"], "one is given twice"),
        (["compare", "one", "none"], r"none.predictions\.csv: cannot be read"),
        (["compare", "one", "../x"], r"experiment_name: found '\.\./x'"),
    ):
        monkeypatch.setattr(sys, "argv", ["report", *arguments])
        with pytest.raises(UserError, match=message) as error:
            __main__.main()
        assert "\n" not in str(error.value)
