"""models.regressor: the files of regressors, released, fitted here and exported."""

from pathlib import Path
from typing import Any

import pytest
import torch

from data import IQA_DATASETS
from models.errors import WeightsError
from models.regressor import RELEASED_SCORES, Regressor, load_regressor
from models.weights import published_regressor
from tests.models.arniqa_files import random_regressor

ABOUT: dict[str, Any] = {"dataset": "mine", "mos_range": (0.0, 1.0), "mos_type": "mos", "alpha": 1.0}
ABOUT |= {"encoder_hash": "a" * 16, "crop_size": 96, "shorter_side": 512, "srocc": 0.1, "plcc": 0.2}
ABOUT |= {"score_quantiles": [-0.25, 0.1, 0.1, 1 / 3], "score_kind": "pseudo"}


def fitted(**about: Any) -> Regressor:
    linear = random_regressor(1)
    return Regressor(linear.weight.detach(), linear.bias.detach(), **{**ABOUT, **about})


def refusal(path: Path, **options: Any) -> str:
    """The one line that loading a regressor gives."""
    with pytest.raises(WeightsError) as error:
        load_regressor(path, **options)
    assert str(error.value).startswith(f"{path}: ") and "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("name", RELEASED_SCORES)
def test_score_ranges_are_those_of_the_datasets(name: str) -> None:
    dataset = IQA_DATASETS[name]
    assert RELEASED_SCORES[name] == (tuple(dataset.mos_range), dataset.mos_type)


@pytest.mark.parametrize("form", ["own", "released"])
def test_a_regressor_is_read_back(tmp_path: Path, form: str) -> None:
    regressor, path = fitted(), tmp_path / "new" / "regressor_mine.pth"
    (regressor.save if form == "own" else regressor.save_released)(path)
    loaded = load_regressor(path)
    assert torch.equal(loaded.weights, regressor.weights) and torch.equal(loaded.biases, regressor.biases)
    assert loaded.about == regressor.about and loaded.hash == regressor.hash
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    features = torch.randn(3, 4096)
    torch.testing.assert_close(loaded.linear()(features), random_regressor(1)(features))
    loaded.check_fitted_on("a" * 16, "it")
    with pytest.raises(WeightsError, match=f"it: fitted on the features of encoder {'a' * 16}, but"):
        loaded.check_fitted_on("b" * 16, "it")
    assert "full_reference" in refusal(path, kind="full_reference")


def test_released_archives_load(released: Path) -> None:
    for seed, dataset in enumerate(RELEASED_SCORES):
        loaded = published_regressor(dataset, released)
        expected = random_regressor(seed)
        assert torch.equal(loaded.weights, expected.weight) and torch.equal(loaded.biases, expected.bias[0])
        assert (loaded.dataset, loaded.score_kind) == (dataset, "human")
        assert (loaded.mos_range, loaded.mos_type) == RELEASED_SCORES[dataset]
        assert (loaded.score_quantiles is None) == (dataset == "koniq10k")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("weights", torch.ones(1, 7)),
        ("weights", torch.full((1, 4096), float("nan"))),
        ("weights", torch.ones(1, 4096).to_sparse()),
        ("biases", 3),
        ("dataset", "../x"),
        ("mos_range", [1, 0]),
        ("crop_size", 10**9),
        ("shorter_side", 512.0),
        ("mos_range", [0, 10**400]),
        ("precision", "int8"),
        ("score_quantiles", [2.0, 1.0]),
        ("score_kind", {}),
    ],
)
def test_a_wrong_value_is_one_line(tmp_path: Path, name: str, value: object) -> None:
    path = tmp_path / "regressor_mine.pth"
    fitted().save(path)
    torch.save({**torch.load(path, weights_only=True), name: value}, path)
    assert name in refusal(path)


def test_other_and_damaged_files_are_one_line(tmp_path: Path, released: Path) -> None:
    (tmp_path / "renamed.pth").write_bytes((released / "regressor_live.pth").read_bytes())
    assert "regressor_<dataset>.pth" in refusal(tmp_path / "renamed.pth")
    assert "missing" in refusal(released / "ARNIQA.pth")
    path = tmp_path / "regressor_mine.pth"
    fitted().save(path)
    content = path.read_bytes()
    flipped = bytearray(content)
    flipped[len(content) // 2] ^= 1  # a bit of the coefficients
    path.write_bytes(flipped)
    assert "damaged" in refusal(path)
    for length in range(1, len(content), len(content) // 7):
        path.write_bytes(content[:length])
        refusal(path)
