"""The training data: images, the order of the samples, the loader, and the report of images that cannot be read."""

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader, Sampler

from data.kadis700 import KADIS700Dataset, collate_samples, sample_generator
from models.errors import UserError
from utils.config.keys import Config
from utils.runtime.distributed import rank, world_size
from utils.runtime.workers import ignore_signals, worker_count

ORDER = 2**31  # used as index for the permutation's generator; larger than any image index, so seeds differ
UNREADABLE_LIMIT = 0.01  # largest share of training images that may be unreadable


def training_set(config: Config) -> KADIS700Dataset:
    """Opens KADIS700's pristine images, or those of `training.data.pristine_path`.

    Raises:
        UserError: the folder is missing or has no image.
    """
    data = config.training.data
    kadis700 = Path(config.data_base_path) / "KADIS700"
    root, images_folder = (Path(data.pristine_path), ".") if data.pristine_path else (kadis700, "ref_imgs")
    return KADIS700Dataset(
        root.expanduser(),
        data.patch_size,
        data.max_distortions,
        data.num_levels,
        data.pristine_prob,
        config.seed,
        data.same_image,
        images_folder,
    )


class TrainingBatchSampler(Sampler[list[tuple[int, int]]]):
    """Batches of (epoch, index) pairs of all epochs, so that workers prefetch the first batches of the next epoch.

    Each epoch is a permutation of all images that depends on (seed, epoch). The last batch of an epoch is dropped if it
    is incomplete. With several ranks, each rank yields its share of every global batch, so the global batches do not
    depend on the number of ranks.

    Args:
        num_images: number of training images.
        batch_size: number of images in a global batch, over all ranks; must be a multiple of `world_size`.
        seed: seed of the permutations.
        epochs: number of epochs.
        rank: index of this process.
        world_size: number of processes.
    """

    def __init__(
        self, num_images: int, batch_size: int, seed: int, epochs: int = 1, rank: int = 0, world_size: int = 1
    ) -> None:
        self.num_images = num_images
        self.batch_size = batch_size
        self.seed = seed
        self.epochs = epochs
        self.rank = rank
        self.world_size = world_size
        self.epoch = 0
        self.step = 0

    def set_position(self, epoch: int, step: int = 0) -> None:
        """Sets the epoch and the batch at which the next iteration begins."""
        self.epoch = epoch
        self.step = step

    @property
    def steps_per_epoch(self) -> int:
        return self.num_images // self.batch_size

    def __len__(self) -> int:
        return (self.epochs - self.epoch) * self.steps_per_epoch - self.step

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        start = self.step
        for epoch in range(self.epoch, self.epochs):
            generator = sample_generator(self.seed, epoch, ORDER)
            order = torch.randperm(self.num_images, generator=generator).tolist()
            for step in range(start, self.steps_per_epoch):
                batch = order[step * self.batch_size : (step + 1) * self.batch_size]
                yield [(epoch, index) for index in batch[self.rank :: self.world_size]]
            start = 0


def batch_sampler(dataset: KADIS700Dataset, config: Config) -> TrainingBatchSampler:
    """Returns the sampler of this process; `training.batch_size` counts images over all processes.

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
    return TrainingBatchSampler(len(dataset), batch_size, config.seed, config.training.epochs, rank(), world_size())


def training_loader(
    dataset: KADIS700Dataset, sampler: TrainingBatchSampler, num_workers: int, pin_memory: bool
) -> DataLoader:
    """Loads the sampler's batches of samples, see `collate_samples`."""
    return DataLoader(
        dataset,
        batch_sampler=sampler,
        num_workers=worker_count(num_workers),
        collate_fn=collate_samples,
        pin_memory=pin_memory,
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
        """Reports the images of a batch (see `collate_samples`).

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
