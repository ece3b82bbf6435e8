from pathlib import Path

import pytest
import torch
from torchvision.models import resnet50

from models.errors import WeightsError
from models.resnet import ResNet


@pytest.fixture(scope="module")
def encoder() -> ResNet:
    torch.manual_seed(0)
    return ResNet(embedding_dim=128, pretrained=False, use_norm=True).eval()


def test_f_is_torchvisions_normalised_feature_and_g_its_projection(encoder: ResNet) -> None:
    network = resnet50(weights=None).eval()
    network.fc = torch.nn.Identity()
    names = [name for name, _ in resnet50(weights=None).named_children()]
    state = {
        f"{names[int(key.split('.')[1])]}.{key.split('.', 2)[2]}": value
        for key, value in encoder.state_dict().items()
        if key.startswith("model.")
    }
    network.load_state_dict(state)
    x = torch.randn(2, 3, 64, 48)
    with torch.no_grad():
        f, g = encoder(x)
        raw = network(x)
        expected = raw / raw.norm(dim=1, keepdim=True)
        head = encoder.projector(expected)
    torch.testing.assert_close(f, expected)
    torch.testing.assert_close(g, head / head.norm(dim=1, keepdim=True))


def test_use_norm_applies_to_both_outputs() -> None:
    torch.manual_seed(0)
    plain = ResNet(embedding_dim=8, pretrained=False, use_norm=False).eval()
    with torch.no_grad():
        f, g = plain(torch.randn(2, 3, 32, 32))
    assert not torch.allclose(f.norm(dim=1), torch.ones(2), atol=1e-2)
    torch.testing.assert_close(g, plain.projector(f))


def test_imagenet_weights_come_from_the_cache_or_the_error_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path))

    def no_network(*_: object, **__: object) -> None:
        raise OSError("no network")

    monkeypatch.setattr(torch.hub, "download_url_to_file", no_network)
    with pytest.raises(WeightsError, match=r"resnet50-0676ba61\.pth.*model\.encoder\.pretrained"):
        ResNet(pretrained=True)

    torch.manual_seed(3)
    state = resnet50(weights=None).state_dict()
    (tmp_path / "checkpoints").mkdir(exist_ok=True)
    torch.save(state, tmp_path / "checkpoints" / "resnet50-0676ba61.pth")
    torch.testing.assert_close(ResNet(pretrained=True).model[0].weight.data, state["conv1.weight"])
