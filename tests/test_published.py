"""benchmarks.published beside a stand-in for the published repository, made of plain torchvision."""

from pathlib import Path

import pytest
from PIL import Image

from benchmarks import published
from models.errors import UserError

ROOT = Path(__file__).resolve().parents[1]
STAND_IN = """
import os
import torch
from torch import nn
from models.encoder import backbone  # a package of the same name as ours

dependencies = ["torch", "torchvision"]
RANGES = {"live": (1, 100), "csiq": (0, 1), "tid2013": (0, 9), "kadid10k": (1, 5)}


class Model(nn.Module):
    def __init__(self, dataset):
        super().__init__()
        folder = os.environ["STAND_IN_WEIGHTS"]
        state = torch.load(f"{folder}/ARNIQA.pth")
        self.encoder = backbone()
        self.encoder.load_state_dict({k.removeprefix("model."): v for k, v in state.items() if k.startswith("model.")})
        self.regressor = torch.jit.load(f"{folder}/regressor_{dataset}.pth")
        self.range, self.lower_is_better = RANGES.get(dataset, (1, 100)), dataset in ("live", "csiq")

    def forward(self, img, img_ds, return_embedding=False, scale_score=True):
        embedding = torch.hstack([nn.functional.normalize(self.encoder(x).flatten(1), dim=1) for x in (img, img_ds)])
        score = (self.regressor(embedding).squeeze(1) - self.range[0]) / (self.range[1] - self.range[0])
        return 1 - score if self.lower_is_better else score


def ARNIQA(regressor_dataset="kadid10k"):
    print("Using cache found somewhere")
    return Model(regressor_dataset)
"""
ENCODER = """
from torch import nn
from torchvision.models import resnet50


def backbone():
    return nn.Sequential(*list(resnet50(weights=None).children())[:-1])
"""


@pytest.fixture
def stand_in(tmp_path: Path) -> Path:
    (tmp_path / "repository" / "models").mkdir(parents=True)
    (tmp_path / "repository" / "hubconf.py").write_text(STAND_IN, encoding="utf-8")
    (tmp_path / "repository" / "models" / "encoder.py").write_text(ENCODER, encoding="utf-8")
    return tmp_path / "repository"


def test_equal_scores_are_exit_code_0_and_others_1(
    stand_in: Path, released: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.open(ROOT / "assets" / "01.png").resize((90, 70)).save(tmp_path / "small.png")
    options = [str(tmp_path / "small.png"), "--repository", str(stand_in), "--weights_dir", str(released)]
    monkeypatch.setattr("sys.argv", ["published", *options])
    monkeypatch.setattr(published, "RELEASED_SCORES", ["live", "kadid10k"])
    monkeypatch.setenv("STAND_IN_WEIGHTS", str(released))
    assert published.main() == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines[1:3]] == [["small.png", "live"], ["small.png", "kadid10k"]]
    assert lines[-1].startswith("largest difference: ") and lines[-1].endswith("1 images, 2 regressors; limit 0.001")

    text = (stand_in / "hubconf.py").read_text(encoding="utf-8")
    for changed in ("score", "score * float('nan')"):
        (stand_in / "hubconf.py").write_text(text.replace("1 - score", changed), encoding="utf-8")
        assert published.main() == 1


def test_published_code_that_fails_is_one_line(stand_in: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STAND_IN_WEIGHTS", "nowhere")
    with pytest.raises(UserError, match=r"ended with exit code 1 \(FileNotFoundError.*nowhere/ARNIQA.pth"):
        published.published_scores(str(stand_in), ["a.png"], ["live"])
