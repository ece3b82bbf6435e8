import copy
import hashlib
from pathlib import Path
from typing import Any

import pytest
import torch

from data import IQA_DATASETS
from models.experiment_files import find_best_checkpoint
from models.export import save_released_regressor
from models.resnet import ResNet
from models.simclr import SimCLR
from models.weights import (
    RELEASED_SCORES,
    WeightsError,
    encoder_hash,
    load_encoder,
    load_regressor,
    published_regressor,
    save_regressor,
)
from tests.models.arniqa_files import random_regressor

ABOUT: dict[str, Any] = {"dataset": "mine", "alpha": 1.0, "mos_range": (0, 1), "mos_type": "mos"}
ABOUT |= {"crop_size": 96, "shorter_side": 512, "precision": "float32", "srocc": 0.1, "plcc": 0.2}


def one_line(error: pytest.ExceptionInfo[WeightsError], *words: str) -> bool:
    message = str(error.value)
    return "\n" not in message and all(word in message for word in words)


@pytest.mark.parametrize("name", RELEASED_SCORES)
def test_score_ranges_are_those_of_the_datasets(name: str) -> None:
    dataset = IQA_DATASETS[name]
    assert RELEASED_SCORES[name] == (tuple(dataset.mos_range), dataset.mos_type)


def test_released_file_and_checkpoint_load_the_same_encoder(released: Path, experiment: Path, encoder: ResNet) -> None:
    expected = encoder.state_dict()
    for path in (released / "ARNIQA.pth", find_best_checkpoint(experiment)):
        loaded = load_encoder(path)
        assert not loaded.training
        state = loaded.state_dict()
        assert list(state) == list(expected)
        assert all(torch.equal(state[name], expected[name]) for name in expected)


def test_encoder_hash_follows_its_definition(encoder: ResNet) -> None:
    digest = hashlib.sha256()
    for name, value in sorted(encoder.state_dict().items()):
        if name.startswith("model.") and "num_batches_tracked" not in name:
            digest.update(f"{name} {tuple(value.shape)}".encode() + value.numpy().tobytes())
    assert encoder_hash(encoder) == digest.hexdigest()[:16]


def test_a_saved_regressor_loads_and_is_bound_to_its_encoder(tmp_path: Path) -> None:
    linear = random_regressor(1)
    path = tmp_path / "new" / "regressor_mine.pth"
    save_regressor(path, linear.weight.detach().numpy(), linear.bias.item(), encoder_hash="a" * 16, **ABOUT)
    loaded, about = load_regressor(path, "a" * 16)
    assert torch.equal(loaded.weight, linear.weight) and torch.equal(loaded.bias, linear.bias)
    kinds = {"kind": "no_reference", "score_kind": "unstated"}
    assert about == {**ABOUT, "mos_range": [0.0, 1.0], "encoder_hash": "a" * 16, **kinds}
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    with pytest.raises(WeightsError) as error:
        load_regressor(path, "b" * 16)
    assert one_line(error, str(path), "a" * 16, "b" * 16, "test.py")


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_a_regressor_keeps_the_quantiles_and_the_kind_of_its_scores_through_export(tmp_path: Path) -> None:
    linear = random_regressor(1)
    quantiles = [-0.25, 0.1, 0.1, 1 / 3]
    path, exported = tmp_path / "regressor_mine.pth", tmp_path / "exported.pth"
    weights = linear.weight.detach(), linear.bias.item()
    scores = {"score_quantiles": quantiles, "score_kind": "pseudo"}
    save_regressor(path, *weights, encoder_hash="a" * 16, **scores, **ABOUT)
    loaded, about = load_regressor(path)
    assert scores.items() <= about.items()
    save_released_regressor(loaded, exported, about)
    assert scores.items() <= load_regressor(exported)[1].items()


@pytest.mark.parametrize("quantiles", [[0.0, 2.0, 1.0], [0.0, float("nan")], [1.0], [], "0 1", 0.5, ["a", "b"]])
def test_quantiles_that_are_none_give_a_one_line_message(tmp_path: Path, quantiles: object) -> None:
    path = tmp_path / "regressor_mine.pth"
    linear = random_regressor(1)
    save_regressor(path, linear.weight.detach(), linear.bias.item(), encoder_hash="a" * 16, **ABOUT)
    torch.save({**torch.load(path), "score_quantiles": quantiles}, path)
    with pytest.raises(WeightsError) as error:
        load_regressor(path)
    assert one_line(error, str(path), "score_quantiles", "ascending", "test.py")


def test_released_archive_loads_as_a_linear_layer(released: Path) -> None:
    for seed, dataset in enumerate(RELEASED_SCORES):
        loaded, about = published_regressor(dataset, released)
        expected = random_regressor(seed)
        assert type(loaded) is torch.nn.Linear
        assert torch.equal(loaded.weight, expected.weight) and torch.equal(loaded.bias, expected.bias)
        assert about["dataset"] == dataset


def test_unknown_dataset_error_lists_the_eight_datasets(released: Path) -> None:
    with pytest.raises(WeightsError) as error:
        published_regressor("kadid", released)
    assert one_line(error, *RELEASED_SCORES)


def test_invalid_files_give_a_one_line_message(tmp_path: Path, released: Path, encoder: ResNet) -> None:
    whole = (released / "regressor_live.pth").read_bytes()
    cut = tmp_path / "regressor_live.pth"
    cut.write_bytes(whole[: len(whole) // 2])
    short = tmp_path / "short.pth"
    torch.save({**ABOUT, "weights": torch.ones(1, 7), "biases": torch.tensor(0.0)}, short)
    infinite = tmp_path / "infinite.pth"
    torch.save({**ABOUT, "weights": torch.full((1, 4096), torch.inf), "biases": torch.tensor(0.0)}, infinite)
    for path, word in (
        (cut, "damaged"),
        (short, "(1, 7)"),
        (infinite, "finite"),
        (released / "ARNIQA.pth", "missing"),
    ):
        with pytest.raises(WeightsError) as error:
            load_regressor(path)
        assert one_line(error, str(path), word)

    head = {"projector.2.weight": torch.ones(128, 2048)}
    torch.save(head, tmp_path / "head.pth")
    (tmp_path / "text.pth").write_text("<html>not found</html>", encoding="utf-8")
    for path, word in (
        (tmp_path / "head.pth", "another model"),
        (tmp_path / "text.pth", "a web page, as after a failed download"),
        (short, "not the weights of an encoder"),
        (released / "regressor_live.pth", "TorchScript"),
        (tmp_path / "none.pth", "no such file"),
    ):
        with pytest.raises(WeightsError) as error:
            load_encoder(path)
        assert one_line(error, str(path), word)


def test_environment_variable_sets_the_folder(released: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ARNIQA_WEIGHTS_DIR", str(released))
    linear, _ = published_regressor("live")
    assert torch.equal(linear.weight, random_regressor(0).weight)


@pytest.mark.parametrize("use_norm", [True, False])
def test_files_say_whether_features_are_normalised(tmp_path: Path, use_norm: bool) -> None:
    """In the metadata of the state dict: the keys stay those of the released file, and a strict load ignores it."""
    model = SimCLR({"embedding_dim": 8, "pretrained": False, "use_norm": use_norm})
    encoder = model.encoder.eval()
    torch.save(encoder.state_dict(), tmp_path / "ARNIQA.pth")
    torch.save(model.state_dict(), tmp_path / "best_epoch_0_srocc_0.5_plcc_0.5.pth")
    images = torch.rand(2, 3, 32, 32)
    for path in tmp_path.iterdir():
        loaded = load_encoder(path)
        assert loaded.use_norm is use_norm
        torch.testing.assert_close(loaded.features(images), encoder.features(images))
        assert encoder_hash(loaded) == encoder_hash(encoder)
    assert list(encoder.state_dict()) == list(ResNet(8, pretrained=False).state_dict())
    ResNet(8, pretrained=False).load_state_dict(torch.load(tmp_path / "ARNIQA.pth", weights_only=True), strict=True)


def test_normalising_is_part_of_the_identity(encoder: ResNet) -> None:
    other = copy.deepcopy(encoder)
    other.use_norm = False
    assert encoder_hash(other) != encoder_hash(encoder)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"extra.weight": torch.ones(1)}, ["Unexpected key(s)", "extra.weight"]),
        ({"model.0.weight": None}, ["Missing key(s)", "model.0.weight"]),
        ({"model.0.weight": torch.ones(2, 3, 7, 7)}, ["size mismatch for model.0.weight"]),
    ],
)
def test_weights_that_do_not_fit_are_named_with_their_file(
    tmp_path: Path, encoder: ResNet, change: dict[str, Any], words: list[str]
) -> None:
    state = {name: value for name, value in {**encoder.state_dict(), **change}.items() if value is not None}
    torch.save(state, tmp_path / "ARNIQA.pth")
    with pytest.raises(WeightsError) as error:
        load_encoder(tmp_path / "ARNIQA.pth")
    assert one_line(error, str(tmp_path / "ARNIQA.pth"), *words)
