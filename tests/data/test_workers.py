"""What a data-loading worker imports, and that it gives the samples of the main process, however it is started."""

import multiprocessing
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from data import KADIS700Dataset, get_dataset
from utils.evaluation.inference import ImageFiles
from utils.runtime.workers import batches, ignore_signals

NOT_FOR_SAMPLES = {"pandas", "scipy", "sklearn", "skimage", "matplotlib", "plotly", "wandb", "torchvision", "openpyxl"}
METHODS = [method for method in multiprocessing.get_all_start_methods() if method != "fork"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a dataset `mine` of two noise images."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "mine").mkdir()
    for name in ("a", "b"):
        pixels = np.random.default_rng(ord(name)).integers(0, 256, (90, 70, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "mine" / f"{name}.png")
    (folder / "mine" / "labels.csv").write_text("image,score\na.png,1\nb.png,2\n")
    return folder


class WithModules(Dataset):
    """Items of a dataset, each with the names of the packages that its process has imported."""

    def __init__(self, dataset: Any, items: list[Any]) -> None:
        self.dataset, self.items = dataset, items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, number: int) -> tuple[Any, set[str]]:
        return self.dataset[self.items[number]], {name.partition(".")[0] for name in sys.modules}


def tensors(item: Any) -> list[Tensor]:
    values = item.values() if isinstance(item, dict) else item
    return [value for value in values if isinstance(value, Tensor)]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", ["training", "test", "scoring"])
def test_a_worker_imports_what_a_sample_needs_and_gives_the_same(folder: Path, kind: str, method: str) -> None:
    datasets: dict[str, tuple[Any, list[Any]]] = {
        "training": (KADIS700Dataset(folder, patch_size=48, images_folder="mine", pristine_prob=0), [(0, 1), (7, 0)]),
        "test": (get_dataset("mine", folder, crop_size=48, with_splits=False), [0, 1]),
        "scoring": (ImageFiles(sorted((folder / "mine").glob("*.png")), 48, None), [0, 1]),
    }
    dataset, items = datasets[kind]
    options = {"batch_size": None, "num_workers": 1, "worker_init_fn": ignore_signals, "timeout": 100}
    loader = DataLoader(WithModules(dataset, items), multiprocessing_context=method, **options)
    for number, (found, modules) in enumerate(batches(loader)):
        expected = tensors(dataset[items[number]])
        assert len(expected) > 0
        assert all(torch.equal(one, two) for one, two in zip(tensors(found), expected, strict=True))
        assert "torch" in modules and modules & NOT_FOR_SAMPLES == set()
