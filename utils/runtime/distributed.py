"""One process or several: what `torchrun` started."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar, cast

import torch
import torch.distributed as dist
from torch import nn

from models.errors import UserError

T = TypeVar("T")
LAUNCHED = ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")  # what torchrun sets for each process


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
    missing = [name for name in LAUNCHED if name not in os.environ]
    if missing:
        raise UserError(f"WORLD_SIZE is {world_size()}, but {', '.join(missing)} is not set; start with torchrun")
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


def on_main(work: Callable[[], T]) -> T:
    """What `work` returns on the first process, on all of them; only that process calls it.

    An exception there is raised on all, so that none waits for another.
    """
    with shared_failure():
        result = work() if is_main() else None
    return cast(T, from_main(result))


@contextmanager
def shared_failure() -> Iterator[None]:
    """If an exception leaves the context on one process, it leaves it on all, so that none waits for another."""
    if world_size() == 1:
        yield
        return
    failure: Exception | None = None
    try:
        yield
    except Exception as error:
        failure = error
    failures: list[Exception | None] = [None] * world_size()
    dist.all_gather_object(failures, failure)
    first = failure or next((f for f in failures if f is not None), None)
    if first is not None:
        raise first


def share_out(work: Callable[[int], T], count: int, able: bool) -> list[T]:
    """[work(0), ..., work(count - 1)] on all processes; those that are able to work take turns.

    An exception on one of them is raised on all. At least one process must be able.
    """
    if world_size() == 1:
        return [work(i) for i in range(count)]
    abilities: list[bool] = [False] * world_size()
    dist.all_gather_object(abilities, able)
    workers = [number for number, is_able in enumerate(abilities) if is_able]
    with shared_failure():
        done = {i: work(i) for i in range(count) if workers[i % len(workers)] == rank()}
    results: list[dict[int, T]] = [{}] * world_size()
    dist.all_gather_object(results, done)
    merged = {i: result for part in results for i, result in part.items()}
    return [merged[i] for i in range(count)]


def is_lost_process(error: RuntimeError) -> bool:
    """Whether an exchange between the processes failed because one of them has ended."""
    return world_size() > 1 and (isinstance(error, dist.DistError) or "gloo" in str(error))


def share_buffers(model: nn.Module) -> None:
    """Gives all processes the first one's buffers: batch-norm statistics that are not synchronised differ."""
    if world_size() > 1:
        for buffer in model.buffers():
            dist.broadcast(buffer, src=0)


def check_same(what: str, value: object) -> None:
    """Compares a value over the processes, whose machines may have different files.

    Raises:
        UserError: on all of them, if it is not the same everywhere.
    """
    if world_size() == 1:
        return
    values: list[object] = [None] * world_size()
    dist.all_gather_object(values, value)
    for other, found in enumerate(values):
        if found != values[0]:
            raise UserError(f"{what}: process {other} has {found}, process 0 has {values[0]}; they must be the same")


def barrier() -> None:
    """Waits for all processes."""
    if world_size() > 1:
        dist.barrier()
