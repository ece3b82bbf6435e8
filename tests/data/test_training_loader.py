from data.training_loader import TrainingBatchSampler


def test_an_epoch_is_a_permutation_without_its_incomplete_batch() -> None:
    sampler = TrainingBatchSampler(23, 5, seed=1)
    batches = list(sampler)
    assert len(sampler) == len(batches) == 4
    indices = [index for batch in batches for _, index in batch]
    assert len(set(indices)) == 20 and set(indices) <= set(range(23))
    assert {epoch for batch in batches for epoch, _ in batch} == {0}


def test_every_epoch_and_every_seed_has_its_own_order() -> None:
    sampler = TrainingBatchSampler(64, 8, seed=1)
    first = list(sampler)
    sampler.set_position(1)
    second = list(sampler)
    assert [i for b in first for _, i in b] != [i for b in second for _, i in b]
    assert first != list(TrainingBatchSampler(64, 8, seed=2))


def test_iteration_can_start_at_any_step() -> None:
    sampler = TrainingBatchSampler(64, 8, seed=1)
    sampler.set_position(3)
    whole = list(sampler)
    sampler.set_position(3, step=5)
    assert list(sampler) == whole[5:]
    assert len(sampler) == 3


def test_the_global_batches_do_not_depend_on_the_number_of_ranks() -> None:
    whole = list(TrainingBatchSampler(64, 8, seed=1))
    ranks = [list(TrainingBatchSampler(64, 8, seed=1, rank=r, world_size=4)) for r in range(4)]
    for step, batch in enumerate(whole):
        assert sorted(batch) == sorted(pair for rank in ranks for pair in rank[step])
