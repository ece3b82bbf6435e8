"""Fixtures of the contract's tests: data, weights files in the released form, and a training that nothing disturbed."""

import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from filelock import FileLock
from torch import nn

from models.resnet import ResNet
from tests.contract.runs import quick, training, write_data

DATASETS = ("live", "csiq", "tid2013", "kadid10k", "flive", "spaq", "clive", "koniq10k")


class Released(nn.Module):
    """A regressor with the parameters that the released archives hold."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.randn(1, 4096) / 64)
        self.biases = nn.Parameter(torch.tensor(0.5))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x @ self.weights.T + self.biases


@pytest.fixture(scope="session")
def released(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ARNIQA.pth and the eight regressors, in the form of the release, with random weights."""
    folder = tmp_path_factory.mktemp("released")
    with torch.random.fork_rng(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is deprecated
        torch.manual_seed(0)
        torch.save(dict(ResNet(pretrained=False).state_dict()), folder / "ARNIQA.pth")
        for dataset in DATASETS:
            torch.jit.script(Released()).save(str(folder / f"regressor_{dataset}.pth"))
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A working folder for the tests of a file; its checkpoints take 300 MB a run, so it is removed at the end."""
    folder = tmp_path_factory.mktemp("work")
    write_data(folder)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """A working folder with an experiment `alone`, made once for all test processes."""
    base = tmp_path_factory.getbasetemp()
    folder = (base if worker_id == "master" else base.parent) / "undisturbed"
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            made = base / "made"
            write_data(made)
            done = quick(made, "main.py", *training("alone"))
            assert done.code == 0, done.err
            made.rename(folder)
    return folder


@pytest.fixture(scope="module")
def alone(folder: Path, undisturbed: Path) -> str:
    """The experiment `alone`: trained and tested by one process that nothing disturbed."""
    shutil.copytree(undisturbed / "experiments", folder / "experiments", dirs_exist_ok=True)
    return "alone"
