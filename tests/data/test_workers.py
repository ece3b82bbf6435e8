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
from models.preprocess import Preprocessing
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
    """Items of datasets, each with the names of the packages that its process has imported."""

    def __init__(self, items: list[tuple[Any, Any]]) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, number: int) -> tuple[Any, set[str]]:
        dataset, item = self.items[number]
        return dataset[item], {name.partition(".")[0] for name in sys.modules}


def tensors(item: Any) -> list[Tensor]:
    if not isinstance(item, dict | list | tuple):
        return [item] if isinstance(item, Tensor) else []
    values = item.values() if isinstance(item, dict) else item
    return [tensor for value in values for tensor in tensors(value)]


@pytest.mark.parametrize("method", METHODS)
def test_a_worker_imports_what_a_sample_needs_and_gives_the_same(folder: Path, method: str) -> None:
    """Samples for training, for a test and for scoring."""
    training = KADIS700Dataset(folder, patch_size=48, images_folder="mine", pristine_prob=0)
    test = get_dataset("mine", folder, crop_size=48, with_splits=False)
    scoring, (a, b) = ImageFiles([Preprocessing(48, None)]), sorted((folder / "mine").glob("*.png"))
    items = [(training, (0, 1)), (training, (7, 0)), (test, 0), (test, 1), (scoring, a), (scoring, b)]
    options = {"batch_size": None, "num_workers": 1, "worker_init_fn": ignore_signals, "timeout": 100}
    loader = DataLoader(WithModules(items), multiprocessing_context=method, **options)
    for (dataset, item), (found, modules) in zip(items, batches(loader), strict=True):
        expected = tensors(dataset[item])
        assert len(expected) > 0
        assert all(torch.equal(one, two) for one, two in zip(tensors(found), expected, strict=True))
        assert "torch" in modules and modules & NOT_FOR_SAMPLES == set()
