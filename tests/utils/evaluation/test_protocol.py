"""Compares utils.evaluation.protocol with the published results, and tests undefined correlations."""

from pathlib import Path

import numpy as np
import pytest

from models.errors import UserError
from tests.golden import golden
from utils.evaluation.protocol import ALPHAS, Prediction, averages, evaluate, mean_over_datasets, training_part
from utils.regression import RidgePath


class FakeDataset:
    """Scores and splits without images."""

    def __init__(self, mos: np.ndarray, splits: list[dict[str, np.ndarray]], types: list[str] | None = None) -> None:
        self.name = "fake"
        self.mos = mos
        self.images = [Path(f"{i:03}.png") for i in range(len(mos))]
        self.ref_images: list[str] | None = None
        self.distortion_types = types
        self.distortion_groups = types
        self.synthetic = types is not None
        self._splits = splits

    @property
    def num_splits(self) -> int:
        return len(self._splits)

    def get_split_indices(self, split: int, phase: str) -> np.ndarray:
        return self._splits[split][phase]


def random_dataset(n: int = 40, types: list[str] | None = None) -> tuple[np.ndarray, FakeDataset]:
    rng = np.random.default_rng(0)
    mos = rng.uniform(1, 5, n)
    features = rng.standard_normal((n, 5, 12)) + mos[:, None, None] * rng.standard_normal(12)
    splits = []
    for _ in range(3):
        order = rng.permutation(n)
        splits.append({"train": order[: n // 2], "val": order[n // 2 : 3 * n // 4], "test": order[3 * n // 4 :]})
    return features, FakeDataset(mos, splits, types)


def test_results_match_the_published_code() -> None:
    data = golden("evaluation.npz")
    splits = [{phase: data[phase][i] for phase in ("train", "val", "test")} for i in range(len(data["train"]))]
    dataset = FakeDataset(data["scores"], splits, data["types"].tolist())
    features = data["features"].reshape(len(data["scores"]), 5, -1)
    test = evaluate(RidgePath(features, dataset.mos), dataset, "test", 10, ALPHAS)
    assert test.alpha == pytest.approx(float(data["alpha"]), rel=1e-12)
    val = evaluate(RidgePath(features, dataset.mos), dataset, "val", 10, [0.1])
    assert val.alpha == 0.1
    assert val.grid is None
    for result, prefix in ((test, ""), (val, "val_alpha0.1/")):
        assert list(result.scores) == ["global", "blur", "jpeg", "noise"]
        for group, scores in result.scores.items():
            for metric in ("srocc", "plcc"):
                np.testing.assert_allclose(scores[metric], data[f"{prefix}{metric}/{group}"], atol=1e-8)
        assert result.median("srocc") == pytest.approx(np.median(data[f"{prefix}srocc/global"]), abs=1e-8)
        assert result.median("plcc") == pytest.approx(np.median(data[f"{prefix}plcc/global"]), abs=1e-8)


def test_predictions_of_the_first_split() -> None:
    features, dataset = random_dataset(160)
    result = evaluate(RidgePath(features, dataset.mos), dataset, "test", 2, [0.1])
    split = dataset.get_split_indices(0, "train"), dataset.get_split_indices(0, "test")
    expected = RidgePath(features, dataset.mos).predict(*split, [0.1])[0]
    assert [p.image for p in result.predictions] == [str(dataset.images[i]) for i in split[1]]
    np.testing.assert_allclose([p.prediction for p in result.predictions], expected)
    errors = np.sort(np.abs(expected - dataset.mos[split[1]]))
    np.testing.assert_allclose([abs(p.prediction - p.score) for p in result.best()], errors[:16])
    np.testing.assert_allclose([abs(p.prediction - p.score) for p in result.worst()], errors[::-1][:16])
    assert len(result.scores["global"]["srocc"]) == 2


def test_no_prediction_is_both_among_the_best_and_the_worst() -> None:
    _, dataset = random_dataset(52)
    result = evaluate(RidgePath(np.ones((52, 5, 12), np.float32), dataset.mos), dataset, "test", 1, [0.1])
    for number, expected in ((13, (7, 6)), (32, (16, 16)), (40, (16, 16))):
        result.predictions = [Prediction(f"{i}.png", 0.5, i % 2) for i in range(number)]  # all errors are equal
        best, worst = ([p.image for p in of] for of in (result.best(), result.worst()))
        assert (len(best), len(worst)) == expected and not set(best) & set(worst)


def test_constant_predictions_and_constant_scores_count_as_zero_with_a_note() -> None:
    features, dataset = random_dataset()
    constant = np.full_like(features, 0.3)
    for inputs, mos, note in ((constant, dataset.mos, "predictions"), (features, np.full(40, 3.3), "scores")):
        dataset.mos = mos
        result = evaluate(RidgePath(inputs, mos), dataset, "test", 3, ALPHAS[::20])
        assert result.median("srocc") == result.median("plcc") == 0
        assert result.alpha == ALPHAS[0] or note == "scores"
        assert any(f"all {note} are equal" in each for each in result.notes)


def test_types_with_too_few_images_are_excluded_with_a_note() -> None:
    features, dataset = random_dataset(types=["rare"] + ["common"] * 39)
    result = evaluate(RidgePath(features, dataset.mos), dataset, "test", 3, [0.1])
    assert list(result.scores) == ["global", "common"]
    assert result.notes == ["rare: fewer than 3 images in 3 of 3 splits, which are ignored"]


def test_training_part_does_not_split_references() -> None:
    _, dataset = random_dataset()
    dataset.ref_images = [f"ref{i // 4}" for i in range(40)]
    train = dataset.get_split_indices(0, "train")
    tenth, third = (training_part(dataset, 0, fraction, seed=27) for fraction in (0.3, 0.6))
    assert set(tenth) < set(third) < set(train)
    refs = np.array(dataset.ref_images)
    for part in (tenth, third):
        assert set(part) == {i for i in train if refs[i] in set(refs[part])}
    assert len(set(refs[third])) == round(0.6 * len(set(refs[train])))
    np.testing.assert_array_equal(third, training_part(dataset, 0, 0.6, seed=27))
    np.testing.assert_array_equal(train, training_part(dataset, 0, 1.0, seed=27))


def test_training_part_by_image() -> None:
    _, dataset = random_dataset()
    assert len(training_part(dataset, 0, 0.25, seed=1)) == 5
    with pytest.raises(UserError, match=r"train_fraction 0\.1 leaves 2 training images"):
        training_part(dataset, 0, 0.1, seed=1)


def test_averages() -> None:
    scores = {"kadid10k": {"srocc": 0.9}, "live": {"srocc": 0.7}, "spaq": {"srocc": 0.5}}
    assert mean_over_datasets(scores)["srocc"] == pytest.approx(0.7)
    found = averages(scores, ["live", "kadid10k"])
    assert {k: round(v["srocc"], 12) for k, v in found.items()} == {
        "synthetic": 0.8,
        "authentic": 0.5,
        "all": 0.7,
    }
    assert list(averages({"mine": {"srocc": 0.5}}, [])) == ["authentic", "all"]
