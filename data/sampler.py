"""The order of the training samples: the only thing in the data pipeline that has a position."""

from collections.abc import Iterator

import torch
from torch.utils.data import Sampler

from data.kadis700 import sample_generator

ORDER = 2**31  # stands where a sample's generator has its image index, which is always smaller


class TrainingBatchSampler(Sampler[list[tuple[int, int]]]):
    """Batches of (epoch, index) pairs: each epoch a permutation of all images drawn from (seed, epoch).

    The last, incomplete batch of an epoch is dropped. Under several ranks each takes its share of every global batch,
    so that the sequence of global batches does not depend on their number.

    Args:
        num_images: images in the training set.
        batch_size: images in a global batch, over all ranks.
        seed: of the permutations.
        rank, world_size: this process and their number; batch_size must be a multiple of world_size.
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
        """The next iteration goes over that epoch, beginning with its batch number `step`."""
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
