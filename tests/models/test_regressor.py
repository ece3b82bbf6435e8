"""models.regressor: the files of regressors, released, fitted here and exported."""

import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from data import IQA_DATASETS
from models.errors import UserError, WeightsError
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
    loaded = load_regressor(path, "a" * 16)
    assert torch.equal(loaded.weights, regressor.weights) and torch.equal(loaded.biases, regressor.biases)
    assert loaded.about == regressor.about and loaded.hash == regressor.hash
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    features = torch.randn(3, 4096)
    torch.testing.assert_close(loaded.linear()(features), random_regressor(1)(features))
    assert "a" * 16 in refusal(path, encoder_hash="b" * 16)
    assert "full_reference" in refusal(path, kind="full_reference")


def test_released_archives_load(released: Path) -> None:
    for seed, dataset in enumerate(RELEASED_SCORES):
        loaded = published_regressor(dataset, released)
        expected = random_regressor(seed)
        assert torch.equal(loaded.weights, expected.weight) and torch.equal(loaded.biases, expected.bias[0])
        assert (loaded.dataset, loaded.score_kind) == (dataset, "human")
        assert (loaded.mos_range, loaded.mos_type) == RELEASED_SCORES[dataset]
        assert (loaded.score_quantiles is None) == (dataset == "koniq10k")


def test_the_environment_variable_sets_the_folder(released: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARNIQA_WEIGHTS_DIR", str(released))
    assert torch.equal(published_regressor("live").weights, random_regressor(0).weight)


def test_an_unknown_dataset_is_one_line(released: Path) -> None:
    with pytest.raises(WeightsError) as error:
        published_regressor("kadid", released)
    assert all(name in str(error.value) for name in RELEASED_SCORES)
    with pytest.raises(UserError, match="folder name"):
        published_regressor("../kadid10k", released)


WRONG = {
    "weights": [3, torch.ones(1, 7), torch.full((1, 4096), torch.inf), torch.full((1, 4096), 3e38),
                torch.ones(1, 4096, dtype=torch.complex64),
                torch.ones(1, 4096).to_sparse(), torch.ones(1, 4096, device="meta"), None],
    "biases": ["0", torch.ones(2), torch.tensor(torch.nan)],
    "dataset": [3, "", "../x", ["mine"]],
    "mos_range": [3, [-1e308, 1e308], [0, 5e-324], [0], [1, 0], [0, float("inf")], [0, float("nan")],
                  ["0", "1"], [True, 5], None],
    "mos_type": ["MOS", 3, None, ["mos"]],
    "alpha": ["1", [1], True],
    "encoder_hash": [3, ["a"], "x\ny", "A" * 16],
    "crop_size": [0, 10**9, 3.5, "224", True, None],
    "shorter_side": [0, -1, 10**9, 512.0, "512", True],
    "precision": ["half", 16, None, ["float32"]],
    "kind": ["none", 1, {}],
    "score_kind": ["ours", 0, []],
    "score_quantiles": [[], [1.0], [0.0, 2.0, 1.0], [0.0, float("nan")], "0 1", 0.5, ["a", "b"], [[0], [1]]],
}  # fmt: skip


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in WRONG.items() for value in values])
def test_a_wrong_value_is_one_line(tmp_path: Path, name: str, value: object) -> None:
    path = tmp_path / "regressor_mine.pth"
    fitted().save(path)
    torch.save({**torch.load(path, weights_only=True), name: value}, path)
    assert name in refusal(path)


def test_other_files_are_one_line(tmp_path: Path, released: Path) -> None:
    torch.save({"weights": torch.ones(1, 4096)}, tmp_path / "part.pth")
    (tmp_path / "text.pth").write_text("<html>not found</html>", encoding="utf-8")
    (tmp_path / "renamed.pth").write_bytes((released / "regressor_live.pth").read_bytes())
    for path, word in (
        (tmp_path / "part.pth", "biases, dataset"),
        (tmp_path / "text.pth", "a web page"),
        (tmp_path / "renamed.pth", "regressor_<dataset>.pth"),
        (released / "ARNIQA.pth", "missing"),
        (tmp_path / "none.pth", "no such file"),
    ):
        assert word in refusal(path)


@pytest.mark.parametrize("form", ["own", "released"])
def test_damage_is_noticed(tmp_path: Path, form: str) -> None:
    path = tmp_path / "regressor_mine.pth"
    (fitted().save if form == "own" else fitted().save_released)(path)
    whole, rng = path.read_bytes(), np.random.default_rng(0)
    start, end = span(path, "data/0")
    for position in rng.integers(start, end, 12):  # a bit of the coefficients
        content = bytearray(whole)
        content[position] ^= 1 << int(rng.integers(8))
        path.write_bytes(content)
        assert "damaged" in refusal(path)
    for length in rng.integers(1, len(whole), 12):
        path.write_bytes(whole[:length])
        refusal(path)


def span(path: Path, member: str) -> tuple[int, int]:
    """The first byte of a member of an archive, and that after its last."""
    with zipfile.ZipFile(path) as archive:
        (about,) = (each for each in archive.infolist() if each.filename.endswith(f"/{member}"))
    name, extra = struct.unpack_from("<HH", path.read_bytes(), about.header_offset + 26)
    start = about.header_offset + 30 + name + extra
    return start, start + about.file_size
