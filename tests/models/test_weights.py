import copy
import hashlib
from pathlib import Path
from typing import Any

import pytest
import torch

from models.errors import WeightsError
from models.experiment import Experiment
from models.resnet import ResNet
from models.simclr import SimCLR
from models.weights import encoder_hash, load_encoder


def refusal(path: Path) -> str:
    """The one line that loading an encoder gives."""
    with pytest.raises(WeightsError) as error:
        load_encoder(path)
    assert str(error.value).startswith(f"{path}: ") and "\n" not in str(error.value)
    return str(error.value)


def test_released_file_and_checkpoint_load_the_same_encoder(released: Path, experiment: Path, encoder: ResNet) -> None:
    expected = encoder.state_dict()
    for path in (released / "ARNIQA.pth", Experiment(experiment).find_best_checkpoint()):
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
    other = copy.deepcopy(encoder)
    other.use_norm = False  # gives other features
    assert encoder_hash(other) != encoder_hash(encoder)


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


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"extra.weight": torch.ones(1)}, "Unexpected key(s)"),
        ({"model.0.weight": torch.ones(2, 3, 7, 7)}, "size mismatch for model.0.weight"),
        ({"model.0.weight": 3}, ""),
        ({0: torch.ones(1)}, ""),
    ],
    ids=["unexpected", "size", "number", "integer key"],
)
def test_weights_that_do_not_fit_are_named_with_their_file(
    tmp_path: Path, encoder: ResNet, change: dict[Any, Any], words: str
) -> None:
    torch.save({**encoder.state_dict(), **change}, tmp_path / "ARNIQA.pth")
    assert words in refusal(tmp_path / "ARNIQA.pth")


def test_other_files_are_one_line(tmp_path: Path, released: Path) -> None:
    torch.save({"projector.2.weight": torch.ones(128, 2048)}, tmp_path / "head.pth")
    assert "not the weights of this encoder" in refusal(tmp_path / "head.pth")
    (tmp_path / "text.pth").write_text("<html>not found</html>", encoding="utf-8")
    assert "damaged, or not a file with the weights of an encoder" in refusal(tmp_path / "text.pth")
    assert "TorchScript" in refusal(released / "regressor_live.pth")
    assert "no such file" in refusal(tmp_path / "none.pth")
