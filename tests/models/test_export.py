import re
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import single_image_inference
from models.arniqa import ARNIQA
from models.errors import UserError, WeightsError
from models.experiment import Experiment
from models.export import export, main, parse_arguments
from models.resnet import ResNet
from models.weights import load_encoder, published_regressor
from tests.models.arniqa_files import random_regressor

ROOT = Path(__file__).resolve().parents[2]
NAMES = ["ARNIQA.pth", "regressor_kadid10k.pth", "regressor_mine.pth"]
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")


def test_exported_files_have_the_format_of_the_release(experiment: Path, encoder: ResNet, tmp_path: Path) -> None:
    written = export(Experiment(experiment, "tried"), tmp_path / "out")
    assert [path.name for path in written] == NAMES == sorted(path.name for path in (tmp_path / "out").iterdir())
    state = torch.load(written[0], weights_only=True)
    assert list(state) == list(encoder.state_dict())
    assert load_encoder(written[0]).projector[2].out_features == 128
    archive = torch.jit.load(written[1]).state_dict()
    assert {name: tuple(value.shape) for name, value in archive.items()} == {"weights": (1, 4096), "biases": ()}
    assert torch.equal(published_regressor("kadid10k", tmp_path / "out").weights, random_regressor(100).weight)


@pytest.fixture
def exported(experiment: Path, tmp_path: Path) -> Path:
    export(Experiment(experiment, "tried"), tmp_path / "exported")
    return tmp_path / "exported"


@pytest.mark.parametrize("dataset", ["mine", "kadid10k"])
def test_an_export_gives_the_scores_of_its_experiment(experiment: Path, exported: Path, dataset: str) -> None:
    """Of a dataset of one's own, too, whose range and direction no released file has."""
    images = torch.rand(3, 3, 48, 48, generator=torch.Generator().manual_seed(2))
    before, after = ARNIQA(dataset, experiment=experiment), ARNIQA(dataset, exported)
    hub = torch.hub.load(str(ROOT), "ARNIQA", source="local", regressor_dataset=dataset, weights_dir=exported)
    assert torch.equal(after(images, images), before(images, images))
    assert torch.equal(hub(images, images), before(images, images))
    assert after.crop_size == before.crop_size == 48


def test_an_exported_regressor_is_bound_to_its_encoder(exported: Path) -> None:
    state = torch.load(exported / "ARNIQA.pth", weights_only=True)
    state["model.0.weight"] += 1
    torch.save(state, exported / "ARNIQA.pth")
    with pytest.raises(WeightsError, match=r"regressor_mine\.pth: fitted on the features of encoder"):
        ARNIQA("mine", exported)


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
    images = torch.rand(3, 3, 65, 48, generator=torch.Generator().manual_seed(1))
    theirs = torch.stack([metric(image.unsqueeze(0)) for image in images]).flatten()
    ours = ARNIQA("kadid10k", tmp_path / "out").score(images, crops="whole")
    assert torch.allclose(theirs, ours, rtol=0, atol=1e-5)


def test_an_encoder_that_does_not_normalise_cannot_be_exported(tmp_path: Path) -> None:
    tried = Experiment(tmp_path, "tried")
    encoder = ResNet(8, pretrained=False, use_norm=False)
    path = tried.best_checkpoint(0, {"srocc": 0.5, "plcc": 0.5})
    path.parent.mkdir()
    torch.save(encoder.state_dict(), path)
    with pytest.raises(UserError, match="does not normalise features"):
        export(tried, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_documented_commands_export_and_read_back(
    experiment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    section = (ROOT / "docs" / "inference.md").read_text(encoding="utf-8").split("\n## Export\n")[1].split("\n## ")[0]
    out = str(tmp_path / "exported")
    section = section.replace("quickstart", "tried").replace("known_levels", "kadid10k").replace(" exported", f" {out}")
    section = section.replace('"exported"', repr(out)).replace(" assets/", f" {ROOT}/assets/")
    section = section.replace('"."', repr(str(ROOT)))
    for command in re.findall(r"python -m models\.export (.*?)(?: +#.*)?\n", section):
        parse_arguments(command.split())
    export_command, score_command = re.findall(r"```sh\npython (?:-m )?\S+ (.*)\n```", section)
    monkeypatch.chdir(experiment.parents[1])
    main(export_command.split())
    assert capsys.readouterr().out.split() == [str(tmp_path / "exported" / name) for name in NAMES]
    assert single_image_inference.main(score_command.split()) == 0
    found: dict[str, Any] = {}
    exec(re.search(r"```python\n(.*?)```", section, re.DOTALL)[1], found)  # type: ignore[index]
    assert torch.equal(found["model"].regressor.weight, random_regressor(100).weight)
