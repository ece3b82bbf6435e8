"""One process or several: what `torchrun` started, seen through five functions."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist


def rank() -> int:
    """This process among all, 0 where there is one."""
    return int(os.environ.get("RANK", 0))


def world_size() -> int:
    """Number of processes that `torchrun` started, 1 without it."""
    return int(os.environ.get("WORLD_SIZE", 1))


def is_main() -> bool:
    """Whether this is the process that writes files, logs and prints."""
    return rank() == 0


@contextmanager
def process_group(device: torch.device) -> Iterator[torch.device]:
    """Joins the processes that `torchrun` started, and yields the device of this one.

    A device type without an index becomes this process's own (`cuda` on the second process of a machine is `cuda:1`).
    With one process there is no group and the device is unchanged.
    """
    if world_size() == 1:
        yield device
        return
    if device.type != "cpu":
        device = torch.device(device.type, int(os.environ["LOCAL_RANK"]))
        torch.get_device_module(device).set_device(device)
    dist.init_process_group(dist.get_default_backend_for_device(device))
    try:
        yield device
    finally:
        dist.destroy_process_group()


def any_rank(flag: bool, device: torch.device) -> bool:
    """Whether the flag is set on any process; every process must ask at the same point."""
    if world_size() == 1:
        return flag
    flags = torch.tensor(int(flag), device=device)
    dist.all_reduce(flags, op=dist.ReduceOp.MAX)
    return bool(flags.item())


def barrier() -> None:
    """Waits for all processes."""
    if world_size() > 1:
        dist.barrier()
