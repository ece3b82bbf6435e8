"""Processes (ranks) started by `torchrun`; a single rank without it."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar, cast

import torch
import torch.distributed as dist
from torch import nn
from tqdm import tqdm

from models.errors import UserError

T = TypeVar("T")
LAUNCHED = ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")  # variables that torchrun sets for each process
TIMEOUT = timedelta(hours=2)  # longer than any work on rank 0 that the other ranks wait for


def rank() -> int:
    """Returns the rank of this process, 0 with a single process."""
    return int(os.environ.get("RANK", 0))


def world_size() -> int:
    """Returns the number of processes started by `torchrun`, 1 without it."""
    return int(os.environ.get("WORLD_SIZE", 1))


def is_rank0() -> bool:
    """Whether this is the process that writes files, logs and prints."""
    return rank() == 0


@contextmanager
def process_group(device: torch.device, hint: str, backend: str | None = None) -> Iterator[torch.device]:
    """Context that joins the process group of `torchrun` and yields the device of this process.

    A device type without an index becomes the local rank's device: `cuda` on the second process of a machine is
    `cuda:1`. With one process there is no group and the device is unchanged.

    Args:
        device: configured device.
        hint: advice for the error message if another process ends early.
        backend: of the group; "gloo" for objects alone, by default that of the device for tensors.

    Raises:
        UserError: torchrun's variables are missing, or another process ended early.
    """
    if world_size() == 1:
        yield device
        return
    missing = [name for name in LAUNCHED if name not in os.environ]
    if missing:
        raise UserError(f"WORLD_SIZE is {world_size()}, but {', '.join(missing)} is not set; start with torchrun")
    if device.type != "cpu":
        device = torch.device(device.type, int(os.environ["LOCAL_RANK"]))
        torch.get_device_module(device).set_device(device)
    dist.init_process_group(backend or dist.get_default_backend_for_device(device), timeout=TIMEOUT)
    try:
        yield device
    except RuntimeError as error:
        if isinstance(error, dist.DistError) or "gloo" in str(error):
            raise UserError(f"another process of this run ended; {hint}") from None
        raise
    finally:
        dist.destroy_process_group()


def any_rank(flag: bool, device: torch.device) -> bool:
    """Whether the flag is set on any rank; every rank must call this at the same point."""
    if world_size() == 1:
        return flag
    flags = torch.tensor(int(flag), device=device)
    dist.all_reduce(flags, op=dist.ReduceOp.MAX)
    return bool(flags.item())


def broadcast_from_rank0(value: T) -> T:
    """Returns rank 0's value on all ranks; every rank must call this at the same point."""
    if world_size() == 1:
        return value
    values = [value]
    dist.broadcast_object_list(values)
    return values[0]


def gather_objects(value: T) -> list[T]:
    """Returns the values of all ranks, in rank order, on all ranks; every rank must call this at the same point."""
    values = [value] * world_size()
    if world_size() > 1:
        dist.all_gather_object(values, value)
    return values


def run_on_rank0(work: Callable[[], T]) -> T:
    """Calls `work` on rank 0 only, and returns its result on all ranks. An exception is raised on all ranks."""
    with raise_on_all_ranks():
        result = work() if is_rank0() else None
    return cast(T, broadcast_from_rank0(result))


@contextmanager
def raise_on_all_ranks() -> Iterator[None]:
    """Context that raises an exception of one rank on all ranks, so that no rank waits for another."""
    if world_size() == 1:
        yield
        return
    failure: Exception | None = None
    try:
        yield
    except Exception as error:
        failure = error
    failures = gather_objects(failure)
    first = failure or next((other for other in failures if other is not None), None)
    if first is not None:
        raise first


def broadcast_buffers(model: nn.Module) -> None:
    """Copies rank 0's buffers to all ranks, because unsynchronised batch-norm statistics differ."""
    if world_size() > 1:
        for buffer in model.buffers():
            dist.broadcast(buffer, src=0)


def check_same(what: str, value: object) -> None:
    """Checks that a value is the same on all ranks, for example a hash of files on different machines.

    Raises:
        UserError: the value differs between ranks; raised on all of them.
    """
    first, *others = gather_objects(value)
    for number, other in enumerate(others, 1):
        if other != first:
            raise UserError(f"{what}: process {number} has {other}, process 0 has {first}; they must be the same")


def barrier() -> None:
    """Waits for all ranks."""
    if world_size() > 1:
        dist.barrier()


def progress_bar(title: str, total: int, done: int, unit: str) -> tqdm:
    """Returns a progress bar that starts at `done`; hidden without a terminal and on all ranks except rank 0."""
    return tqdm(desc=title, total=total, initial=done, unit=unit, disable=None if is_rank0() else True)
