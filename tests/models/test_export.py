import sys
from pathlib import Path

import pytest
import torch
from torchvision.transforms.functional import normalize, resize

from models.arniqa import ARNIQA
from models.export import export, main
from models.resnet import ResNet
from models.weights import load_encoder, published_regressor
from tests.models.arniqa_files import random_regressor
from utils.errors import UserError
from utils.experiment.layout import Experiment


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_exported_files_have_the_format_of_the_release(experiment: Path, encoder: ResNet, tmp_path: Path) -> None:
    (experiment / "regressors" / "regressor_mine.pth").rename(tmp_path / "regressor_mine.pth")
    try:
        written = export(Experiment(experiment, "tried"), tmp_path / "out")
    finally:
        (tmp_path / "regressor_mine.pth").rename(experiment / "regressors" / "regressor_mine.pth")
    assert [path.name for path in written] == ["ARNIQA.pth", "regressor_kadid10k.pth"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(path.name for path in written)
    state = torch.load(written[0], weights_only=True)
    assert list(state) == list(encoder.state_dict())
    assert load_encoder(written[0]).projector[2].out_features == 128
    archive = torch.jit.load(written[1]).state_dict()
    assert {name: tuple(value.shape) for name, value in archive.items()} == {
        "weights": (1, 4096),
        "biases": (),
    }
    linear, _ = published_regressor("kadid10k", tmp_path / "out")
    assert torch.equal(linear.weight, random_regressor(100).weight)


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")
def test_torchmetrics_loads_the_export_and_gives_our_score(
    experiment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torchmetrics = pytest.importorskip("torchmetrics.image.arniqa")
    export(Experiment(experiment, "tried"), tmp_path / "out")
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path / "hub"))
    # Look the module up by name, because a function of the same name hides it in its package.
    functional = sys.modules["torchmetrics.functional.image.arniqa"]
    monkeypatch.setattr(functional, "_base_url", (tmp_path / "out").as_uri())
    metric = torchmetrics.ARNIQA(regressor_dataset="kadid10k", reduction="none")
    image = torch.rand(3, 3, 65, 48, generator=torch.Generator().manual_seed(1))
    theirs = torch.stack([metric(image[i : i + 1]) for i in range(3)])
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    ours = ARNIQA("kadid10k", tmp_path / "out")(
        normalize(image, mean, std), normalize(resize(image, [32, 24], antialias=True), mean, std)
    )
    assert torch.allclose(theirs.flatten(), ours, rtol=0, atol=1e-4)


def test_missing_checkpoint_gives_a_one_line_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"best_epoch_\*\.pth; train the experiment first") as error:
        main(["--experiment_name", "none", "--out", "out"])
    assert "\n" not in str(error.value)
    assert not Path("out").exists()


def test_an_encoder_that_does_not_normalise_cannot_be_exported(tmp_path: Path) -> None:
    tried = Experiment(tmp_path, "tried")
    encoder = ResNet(8, pretrained=False, use_norm=False)
    path = tried.best_checkpoint(0, {"srocc": 0.5, "plcc": 0.5})
    path.parent.mkdir()
    torch.save(encoder.state_dict(), path)
    with pytest.raises(UserError, match="does not normalise features"):
        export(tried, tmp_path / "out")
    assert not (tmp_path / "out").exists()
