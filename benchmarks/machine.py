"""Timing, the matrix-product rate and a description of this machine, for the other benchmarks."""

import platform
import statistics
import time
from collections.abc import Callable

import torch


def seconds(work: Callable[[], object], repeats: int) -> float:
    """Median time in seconds of `repeats` calls, after one warm-up call."""
    work()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def matmul_rate(size: int = 2048) -> float:
    """Multiply-adds per second of a float32 matrix product with the current number of torch threads."""
    a, b = torch.randn(size, size), torch.randn(size, size)
    return size**3 / seconds(lambda: a @ b, 5)


def description() -> str:
    """One line with the system, processor architecture, number of threads, and versions of Python and torch."""
    return (
        f"{platform.system()} {platform.machine()}, {torch.get_num_threads()} threads, "
        f"Python {platform.python_version()}, torch {torch.__version__}"
    )
