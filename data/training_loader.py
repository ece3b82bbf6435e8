"""The training data: images, batches, the loader over both, and the report of images that cannot be read."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch.utils.data import DataLoader

from data.kadis700 import KADIS700Dataset, collate
from data.sampler import TrainingBatchSampler
from models.errors import UserError
from utils.config.keys import Config
from utils.runtime.distributed import rank, world_size
from utils.runtime.workers import ignore_signals, worker_count

UNREADABLE_LIMIT = 0.01  # largest share of training images that may be unreadable


def training_set(config: Config) -> KADIS700Dataset:
    """KADIS700's pristine images, or those of `training.data.pristine_path`.

    Raises:
        UserError: the folder is missing or has no image.
    """
    data = config.training.data
    kadis700 = Path(config.data_base_path) / "KADIS700"
    root, images_folder = (data.pristine_path, ".") if data.pristine_path else (kadis700, "ref_imgs")
    return KADIS700Dataset(
        root,
        data.patch_size,
        data.max_distortions,
        data.num_levels,
        data.pristine_prob,
        config.seed,
        data.same_image,
        images_folder,
    )


def batch_sampler(dataset: KADIS700Dataset, config: Config) -> TrainingBatchSampler:
    """The batches of this process; `training.batch_size` counts images over all processes.

    Raises:
        UserError: the batch size does not suit the number of processes or of images.
    """
    batch_size = config.training.batch_size
    if batch_size % world_size():
        raise UserError(f"training.batch_size: {batch_size} is not a multiple of the {world_size()} processes")
    if batch_size > len(dataset):
        raise UserError(
            f"training.batch_size: {batch_size} is more than the {len(dataset)} images in {dataset.folder}, "
            "so no batch can be filled"
        )
    return TrainingBatchSampler(len(dataset), batch_size, config.seed, rank(), world_size())


def training_loader(
    dataset: KADIS700Dataset, sampler: TrainingBatchSampler, num_workers: int, pin_memory: bool
) -> DataLoader:
    """Loads the sampler's batches of samples, see `collate`."""
    return DataLoader(
        dataset,
        batch_sampler=sampler,
        num_workers=worker_count(num_workers),
        collate_fn=collate,
        pin_memory=pin_memory,
        persistent_workers=num_workers > 0,
        prefetch_factor=4 if num_workers > 0 else None,
        worker_init_fn=ignore_signals,
    )


class ImageReport:
    """Reports unreadable and truncated training images on standard error, each once.

    Args:
        dataset: the training images.
        unreadable: messages about images that an earlier part of the run reported; new ones are appended.
    """

    def __init__(self, dataset: KADIS700Dataset, unreadable: list[str]) -> None:
        self.dataset, self.unreadable = dataset, unreadable
        self._truncated: set[str] = set()

    def report(self, batch: Mapping[str, Any]) -> None:
        """Reports the images of a batch (see `collate`).

        Raises:
            UserError: too many images are unreadable.
        """
        for message in sorted({m for sample in batch["truncated"] for m in sample} - self._truncated):
            self._truncated.add(message)
            print(message, file=sys.stderr)
        for message in sorted({m for sample in batch["unreadable"] for m in sample} - set(self.unreadable)):
            self.unreadable.append(message)
            print(f"replaced in training: {message}", file=sys.stderr)
            if len(self.unreadable) > UNREADABLE_LIMIT * len(self.dataset):
                raise UserError(
                    f"{self.dataset.folder}: {len(self.unreadable)} of {len(self.dataset)} images cannot be read, "
                    f"more than {UNREADABLE_LIMIT:.0%}; the last one: {message}"
                )
