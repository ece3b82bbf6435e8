"""Fixtures for tests of inference: released weights files and an experiment, both with a random encoder."""

from pathlib import Path

import pytest
import torch
from torch import nn

from models.regressor import RELEASED_SCORES, Regressor
from models.resnet import ResNet
from models.weights import encoder_hash


def random_encoder() -> ResNet:
    """An encoder with random weights and random batch-norm statistics, so that folding changes the weights."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        encoder = ResNet(pretrained=False)
        for module in encoder.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 1.5)
                nn.init.uniform_(module.weight, 0.5, 1.2)
                nn.init.normal_(module.bias, 0, 0.1)
    return encoder.eval()


class Released(nn.Module):
    """A regressor with the parameters that the released archives hold."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.weights = nn.Parameter(linear.weight.detach().clone())
        self.biases = nn.Parameter(linear.bias.detach().reshape(()).clone())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x @ self.weights.T + self.biases


def random_regressor(seed: int) -> nn.Linear:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Linear(4096, 1)


@pytest.fixture(scope="session")
def encoder() -> ResNet:
    return random_encoder()


@pytest.fixture(scope="session")
def released(tmp_path_factory: pytest.TempPathFactory, encoder: ResNet) -> Path:
    """A folder with ARNIQA.pth and the eight regressors; the seed of a regressor is its index in RELEASED_SCORES."""
    folder = tmp_path_factory.mktemp("released")
    torch.save(encoder.state_dict(), folder / "ARNIQA.pth")
    for seed, dataset in enumerate(RELEASED_SCORES):
        torch.jit.script(Released(random_regressor(seed))).save(str(folder / f"regressor_{dataset}.pth"))
    return folder


@pytest.fixture(scope="session")
def experiment(tmp_path_factory: pytest.TempPathFactory, encoder: ResNet) -> Path:
    """A folder experiments/tried with a best checkpoint and regressors for kadid10k and a custom dataset."""
    folder = tmp_path_factory.mktemp("project") / "experiments" / "tried"
    (folder / "pretrain").mkdir(parents=True)
    state = {f"encoder.{name}": value for name, value in encoder.state_dict().items()}
    torch.save(state, folder / "pretrain" / "best_epoch_2_srocc_0.500_plcc_0.500.pth")
    for seed, (dataset, mos_range) in enumerate({"kadid10k": (1, 5), "mine": (0, 10)}.items()):
        linear = random_regressor(seed + 100)
        fitted = Regressor(
            linear.weight.detach(),
            linear.bias.detach(),
            dataset,
            mos_range,
            mos_type="mos",
            alpha=0.1,
            encoder_hash=encoder_hash(encoder),
            crop_size=48,
            shorter_side={"kadid10k": None, "mine": 60}[dataset],
            srocc=0.5,
            plcc=0.5,
        )
        fitted.save(folder / "regressors" / f"regressor_{dataset}.pth")
    return folder
