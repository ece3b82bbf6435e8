"""utils.runtime.distributed over three processes."""

import os
from pathlib import Path

import pytest
import torch

from models.errors import UserError
from tests.processes import on_two_ranks, one_at_a_time
from utils.runtime.distributed import (
    any_rank,
    broadcast_buffers,
    broadcast_from_rank0,
    check_same,
    process_group,
    raise_on_all_ranks,
    rank,
    run_on_rank0,
)

pytestmark = one_at_a_time


def _on_rank(number: int, folder: Path) -> None:
    os.environ |= {"RANK": str(number), "WORLD_SIZE": "3"}
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=number, world_size=3)
    try:
        assert run_on_rank0(rank) == broadcast_from_rank0(rank()) == 0
        assert any_rank(number == 2, torch.device("cpu")) and not any_rank(False, torch.device("cpu"))
        norm = torch.nn.BatchNorm2d(4)
        norm.running_mean += number
        broadcast_buffers(norm)
        assert norm.running_mean.tolist() == [0, 0, 0, 0]
        with pytest.raises(ZeroDivisionError):
            run_on_rank0(lambda: 1 // 0)
        with pytest.raises(ZeroDivisionError), raise_on_all_ranks():
            1 // (2 - number)  # on the last rank only
        with pytest.raises(UserError, match="rows: process 1 has 1, process 0 has 0"):
            check_same("rows", number)
    finally:
        torch.distributed.destroy_process_group()


def test_values_and_exceptions_reach_all_ranks(tmp_path: Path) -> None:
    on_two_ranks(_on_rank, tmp_path, ranks=3)


def test_a_world_size_without_torchruns_variables_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    for name in ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    line = r"WORLD_SIZE is 2, but RANK, .* is not set; start with torchrun"
    with pytest.raises(UserError, match=line), process_group(torch.device("cpu"), "resume"):
        pass
