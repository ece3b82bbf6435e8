"""Order of the training samples. Only the sampler has a position in the epoch; samples have no state."""

from collections.abc import Iterator

import torch
from torch.utils.data import Sampler

from data.kadis700 import sample_generator

ORDER = 2**31  # used as index for the permutation's generator; larger than any image index, so seeds differ


class TrainingBatchSampler(Sampler[list[tuple[int, int]]]):
    """Batches of (epoch, index) pairs. Each epoch is a permutation of all images that depends on (seed, epoch).

    The last batch of an epoch is dropped if it is incomplete. With several ranks, each rank yields its share of every
    global batch, so the global batches do not depend on the number of ranks.

    Args:
        num_images: number of training images.
        batch_size: number of images in a global batch, over all ranks; must be a multiple of `world_size`.
        seed: seed of the permutations.
        rank: index of this process.
        world_size: number of processes.

    Raises:
        ValueError: `batch_size` is not a multiple of `world_size`.
    """

    def __init__(self, num_images: int, batch_size: int, seed: int, rank: int = 0, world_size: int = 1) -> None:
        if batch_size % world_size:
            raise ValueError(f"batch_size {batch_size} is not a multiple of world_size {world_size}")
        self.num_images = num_images
        self.batch_size = batch_size
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self.epoch = 0
        self.step = 0

    def set_position(self, epoch: int, step: int = 0) -> None:
        """Sets the epoch of the next iteration, and the number of its first batch."""
        self.epoch = epoch
        self.step = step

    @property
    def steps_per_epoch(self) -> int:
        return self.num_images // self.batch_size

    def __len__(self) -> int:
        return self.steps_per_epoch - self.step

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        generator = sample_generator(self.seed, self.epoch, ORDER)
        order = torch.randperm(self.num_images, generator=generator).tolist()
        for step in range(self.step, self.steps_per_epoch):
            batch = order[step * self.batch_size : (step + 1) * self.batch_size]
            yield [(self.epoch, index) for index in batch[self.rank :: self.world_size]]
