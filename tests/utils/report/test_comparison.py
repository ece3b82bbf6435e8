import os
import sys
from pathlib import Path

import pytest

from models.errors import UserError
from tests.processes import run
from tests.utils.evaluation.test_comparison import frame, with_results
from utils.report import __main__

ROOT = Path(__file__).resolve().parents[3]


def test_a_comparison_is_a_table_and_a_page(tmp_path: Path) -> None:
    for seed, name in enumerate(("one", "two")):
        with_results(tmp_path / "experiments", name, live=frame(0.5 + seed / 2, seed), **{"<b>own": frame(0.5, seed)})
    command = [sys.executable, "-m", "utils.report", "compare"]
    options = {"cwd": tmp_path, "env": os.environ | {"PYTHONPATH": str(ROOT)}}
    ended = run([*command, "one", "two"], **options)
    assert ended.returncode == 0, ended.stderr
    assert "all 2" in ended.stdout and "live" in ended.stdout and "difference" in ended.stdout
    text = (tmp_path / "experiments" / "comparison.html").read_text(encoding="utf-8")
    for shown in (ended.stdout, text):
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
