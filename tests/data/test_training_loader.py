from itertools import islice
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from data.training_loader import TrainingBatchSampler
from tests.processes import wait_until
from utils.runtime.workers import batches


class Noting(Dataset):
    """Leaves a file for each epoch that a worker reads from."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __getitem__(self, item: tuple[int, int]) -> torch.Tensor:
        (self.folder / str(item[0])).touch()
        return torch.tensor(item)


def test_an_epoch_is_a_permutation_without_its_incomplete_batch() -> None:
    sampler = TrainingBatchSampler(23, 5, seed=1)
    batches = list(sampler)
    assert len(sampler) == len(batches) == 4
    indices = [index for batch in batches for _, index in batch]
    assert len(set(indices)) == 20 and set(indices) <= set(range(23))
    assert {epoch for batch in batches for epoch, _ in batch} == {0}


def test_every_epoch_and_every_seed_has_its_own_order() -> None:
    both = list(TrainingBatchSampler(64, 8, seed=1, epochs=2))
    first, second = both[:8], both[8:]
    assert [epoch for batch in both for epoch, _ in batch] == [0] * 64 + [1] * 64
    assert [i for b in first for _, i in b] != [i for b in second for _, i in b]
    assert first == list(TrainingBatchSampler(64, 8, seed=1)) != list(TrainingBatchSampler(64, 8, seed=2))


@pytest.mark.parametrize(("epoch", "step"), [(0, 5), (2, 0), (1, 8), (3, 0)])
def test_iteration_can_start_at_any_step_of_any_epoch(epoch: int, step: int) -> None:
    sampler = TrainingBatchSampler(64, 8, seed=1, epochs=3)
    whole = list(sampler)
    sampler.set_position(epoch, step)
    assert list(sampler) == whole[8 * epoch + step :]
    assert len(sampler) == 24 - 8 * epoch - step


def test_the_global_batches_do_not_depend_on_the_number_of_ranks() -> None:
    whole = list(TrainingBatchSampler(64, 8, seed=1))
    ranks = [list(TrainingBatchSampler(64, 8, seed=1, rank=r, world_size=4)) for r in range(4)]
    for step, batch in enumerate(whole):
        assert sorted(batch) == sorted(pair for rank in ranks for pair in rank[step])


def test_workers_prefetch_the_next_epoch_before_it_is_asked_for(tmp_path: Path) -> None:
    loader: DataLoader = DataLoader(
        Noting(tmp_path), batch_sampler=TrainingBatchSampler(64, 8, seed=1, epochs=2), num_workers=1
    )
    loaded = batches(loader)
    assert len(list(islice(loaded, 8))) == 8  # the first epoch
    wait_until((tmp_path / "1").exists)
    assert next(loaded)[0, 0] == 1
    loaded.close()
