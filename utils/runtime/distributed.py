"""One process or several: what `torchrun` started."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
import torch.distributed as dist

T = TypeVar("T")


def rank() -> int:
    """Number of this process among all of them; 0 if it is the only one."""
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

    A device type without an index becomes this process's own: `cuda` on the second process of a machine is `cuda:1`.
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


def from_main(value: T) -> T:
    """The first process's value, on all of them; every process must ask at the same point."""
    if world_size() == 1:
        return value
    values = [value]
    dist.broadcast_object_list(values)
    return values[0]


def barrier() -> None:
    """Waits for all processes."""
    if world_size() > 1:
        dist.barrier()
