import shutil
from pathlib import Path

import pytest
import torch

from models.encoder import Encoder
from models.errors import WeightsError
from models.resnet import ResNet

IMAGES = torch.randn(2, 3, 75, 64, generator=torch.Generator().manual_seed(3))


@torch.no_grad()
def test_gives_the_features_of_the_released_encoder_and_of_an_experiments(
    released: Path, experiment: Path, encoder: ResNet
) -> None:
    expected = encoder(IMAGES)[0]
    for options in ({"weights_dir": released}, {"experiment": experiment}):
        found = Encoder(**options)(IMAGES)
        assert found.shape == (2, 2048)
        assert torch.allclose(found, expected, rtol=0, atol=1e-5)  # accuracy of folding the batch norms


def test_an_experiment_without_an_encoder_is_one_line_and_not_the_released_one(
    released: Path, experiment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ARNIQA_WEIGHTS_DIR", str(released))
    shutil.copytree(experiment / "regressors", tmp_path / "tested" / "regressors")
    with pytest.raises(WeightsError, match=r"has no best_epoch_.*train the experiment first"):
        Encoder(experiment=tmp_path / "tested")
