import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from models.experiment import Experiment
from tests.utils.experiment.test_wandb import SETTINGS, history, summary
from utils.evaluation.protocol import METRICS, DatasetResult, Prediction
from utils.evaluation.results import Results
from utils.evaluation.wandb_results import log_test, named_scores

SYNTHETIC, AUTHENTIC = {"srocc": 0.9, "plcc": 0.8}, {"srocc": 0.5, "plcc": 0.6}


def test_scores_have_the_published_names() -> None:
    scores = {"live": SYNTHETIC, "csiq": {"srocc": 0.7, "plcc": 0.6}, "spaq": AUTHENTIC}
    expected = {"live": (0.9, 0.8), "csiq": (0.7, 0.6), "spaq": (0.5, 0.6)}
    expected |= {"synthetic_avg": (0.8, 0.7), "authentic_avg": (0.5, 0.6), "avg": (0.7, 2 / 3)}
    named = {f"val_{metric}_{name}": pair[i] for name, pair in expected.items() for i, metric in enumerate(SYNTHETIC)}
    assert named_scores("val", scores, ["live", "csiq"]) == pytest.approx(named)


def result(name: str, figures: dict[str, float], predictions: list[Prediction], synthetic: bool) -> DatasetResult:
    scores = {metric: np.array([figures.get(metric, 0.1)]) for metric in METRICS}
    return DatasetResult(name, 0.25, 1.0, None, {"global": scores}, predictions, synthetic=synthetic)


def test_a_test_has_the_published_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_SILENT", "true")
    predictions = []
    for i in range(6):
        Image.new("RGB", (8, 8), (40 * i, 0, 0)).save(tmp_path / f"{i}.png")
        predictions.append(Prediction(str(tmp_path / f"{i}.png"), 2.0 * i, 0.5 * i + 1))
    results = Results(
        [result("live", SYNTHETIC, predictions, True), result("spaq", AUTHENTIC, predictions, False)], encoder_hash="0"
    )
    (tmp_path / "metrics.csv").write_text("step,epoch,loss\n9,0,2\n10,0,1\n10,0,\n\0\0")
    log_test(Experiment(tmp_path, "test"), SETTINGS, results, batch_size=16)

    found = summary(tmp_path)
    expected: dict[str, Any] = {"test_alpha_live": 0.25, "test_alpha_spaq": 0.25}
    for metric in ("srocc", "plcc"):
        expected |= {f"test_{metric}_live": SYNTHETIC[metric], f"test_{metric}_spaq": AUTHENTIC[metric]}
        expected |= {f"test_{metric}_synthetic_avg": SYNTHETIC[metric]}
        expected |= {f"test_{metric}_authentic_avg": AUTHENTIC[metric], f"test_{metric}_avg": 0.7}
    assert {name: found.get(name) for name in expected} == pytest.approx(expected)

    assert {row["_step"] for row in history(tmp_path)} == {161}  # after the training
    tables = {key.split(".")[0] for row in history(tmp_path) for key in row}
    assert tables >= {f"test_{d}_{kind}_results" for d in ("live", "spaq") for kind in ("best", "worst")}
    (written,) = tmp_path.glob("wandb/offline-run-*/files/media/table/test_live_worst_results_*.json")
    table = json.loads(written.read_text(encoding="utf-8"))
    assert table["columns"] == ["Image", "Predicted", "GT", "Difference", "Path"]
    assert [row[1:] for row in table["data"]] == [
        [2.0 * i, 0.5 * i + 1, 1.5 * i - 1, str(tmp_path / f"{i}.png")]  # the difference has a sign
        for i in (5, 4, 3, 2, 0, 1)
    ]
