"""Processes that tests start. Each has a limit, and neither it nor its data-loading workers outlive the test."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
import torch.multiprocessing as mp

# For tests that start several processes, so that two cores carry one of them at a time (pytest-xdist).
one_at_a_time = pytest.mark.xdist_group("several processes")
LIMIT = 600  # seconds for one process
GRACE = 40  # seconds for torchrun, which gives its own processes 30


@contextmanager
def started(command: list[str], grace: float = GRACE, **options: Any) -> Iterator[subprocess.Popen]:
    """A running process with its output in pipes, as text, unless `options` say where to.

    At the end, what is left of it and its workers is killed.
    """
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, start_new_session=True, **{**pipes, **options}) as process:
        try:
            yield process
        finally:
            end_session(process, grace)


def end_session(process: Any, grace: float = GRACE) -> None:
    """Ends a process with a session of its own, and what is left of those that it started."""
    if process.poll() is None:
        process.terminate()  # torchrun passes it on to its processes, which have sessions of their own
        with suppress(subprocess.TimeoutExpired):
            process.wait(grace)
    process.kill()
    if sys.platform != "win32":
        with suppress(ProcessLookupError, PermissionError):  # macOS: not permitted if all have ended
            os.killpg(process.pid, signal.SIGKILL)


def run(command: list[str], limit: float = LIMIT, grace: float = GRACE, **options: Any) -> subprocess.CompletedProcess:
    """Like `subprocess.run` with the output as text.

    Raises:
        subprocess.TimeoutExpired: the process did not end within the limit.
    """
    with started(command, grace, **options) as process:
        out, err = process.communicate(timeout=limit)
    return subprocess.CompletedProcess(command, process.returncode, out, err)


@contextmanager
def standard_input(content: bytes) -> Iterator[None]:
    """Context in which the process reads this content from a pipe."""
    before, (reading, writing) = os.dup(0), os.pipe()
    os.write(writing, content)
    os.close(writing)
    os.dup2(reading, 0)
    try:
        yield
    finally:
        os.dup2(before, 0)
        os.close(before)
        os.close(reading)


def on_two_ranks(work: Callable[..., None], *arguments: Any, ranks: int = 2) -> None:
    """Calls work(rank, *arguments) in two processes, or more, and raises what one of them raises."""
    method = "forkserver" if "forkserver" in mp.get_all_start_methods() else "spawn"  # it imports torch once
    context = mp.start_processes(work, arguments, nprocs=ranks, join=False, start_method=method)
    deadline = time.monotonic() + LIMIT
    try:
        while not context.join(timeout=1):
            assert time.monotonic() < deadline, f"the processes did not end within {LIMIT} seconds"
    finally:
        for process in context.processes:
            process.kill()


def wait_until(condition: Callable[[], bool], process: subprocess.Popen | None = None) -> None:
    """Waits for something that another process does, and fails if that process ends without it."""
    deadline = time.monotonic() + LIMIT
    while not condition():
        if process is not None and process.poll() is not None:
            raise AssertionError(f"it ended with {process.returncode}: {process.communicate()[1]}")
        assert time.monotonic() < deadline, f"still waiting after {LIMIT} seconds"
        time.sleep(0.01)
