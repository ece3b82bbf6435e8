"""Timing, the matrix-product rate and a description of this machine, for the other benchmarks."""

import platform
import statistics
import time
from collections.abc import Callable

import torch

from utils.runtime.device import precision_context

CPU = torch.device("cpu")


def seconds(work: Callable[[], object], repeats: int, device: torch.device = CPU) -> float:
    """Median time in seconds of `repeats` calls, after one warm-up call (two on an accelerator, which tunes itself)."""
    for _ in range(1 if device.type == "cpu" else 2):
        work()
    times = []
    for _ in range(repeats):
        _wait(device)
        start = time.perf_counter()
        work()
        _wait(device)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def _wait(device: torch.device) -> None:
    if device.type != "cpu":
        torch.get_device_module(device).synchronize(device)


def matmul_rate(device: torch.device = CPU, precision: str = "float32") -> float:
    """Multiply-adds per second of a matrix product on the device, with the current number of torch threads."""
    size = 2048 if device.type == "cpu" else 8192
    a, b = (torch.randn(size, size, device=device) for _ in "ab")
    with torch.no_grad(), precision_context(precision, device):
        return size**3 / seconds(lambda: a @ b, 5, device)


def description(device: torch.device = CPU) -> str:
    """One line with the system, processor architecture, number of threads, versions of Python and torch, and device."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return (
        f"{platform.system()} {platform.machine()}, {torch.get_num_threads()} threads, "
        f"Python {platform.python_version()}, torch {torch.__version__}, {name}"
    )
