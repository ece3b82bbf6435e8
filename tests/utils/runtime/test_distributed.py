"""utils.runtime.distributed over three processes."""

import os
from pathlib import Path

import pytest
import torch

from tests.processes import on_two_ranks, one_at_a_time
from utils.runtime.distributed import rank, share_buffers, share_out

pytestmark = one_at_a_time


def test_one_process_does_all_the_work() -> None:
    assert share_out(lambda i: i * i, 4, able=True) == [0, 1, 4, 9]


def _on_rank(number: int, folder: Path) -> None:
    os.environ |= {"RANK": str(number), "WORLD_SIZE": "3"}
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=number, world_size=3)
    try:
        done = share_out(lambda i: (i, rank()), 5, able=number != 1)
        assert done == [(0, 0), (1, 2), (2, 0), (3, 2), (4, 0)]
        norm = torch.nn.BatchNorm2d(4)
        norm.running_mean += number
        share_buffers(norm)
        assert norm.running_mean.tolist() == [0, 0, 0, 0]
        with pytest.raises(ZeroDivisionError):  # on the last process only
            share_out(lambda i: 1 / (3 - i), 5, able=True)
    finally:
        torch.distributed.destroy_process_group()


def test_those_that_are_able_take_turns_and_all_get_everything(tmp_path: Path) -> None:
    on_two_ranks(_on_rank, tmp_path, ranks=3)
