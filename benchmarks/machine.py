"""What the machine can do: the floor against which the other benchmarks hold their times."""

import platform
import statistics
import time
from collections.abc import Callable

import torch


def seconds(work: Callable[[], object], repeats: int) -> float:
    """The median time of `repeats` calls, after one that is not counted."""
    work()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def matmul_rate(size: int = 2048) -> float:
    """Multiply-adds per second of a float32 matrix product, with the threads that torch uses now."""
    a, b = torch.randn(size, size), torch.randn(size, size)
    return size**3 / seconds(lambda: a @ b, 5)


def description() -> str:
    """Processor architecture, threads, Python and torch, in one line."""
    return (
        f"{platform.system()} {platform.machine()}, {torch.get_num_threads()} threads, "
        f"Python {platform.python_version()}, torch {torch.__version__}"
    )
