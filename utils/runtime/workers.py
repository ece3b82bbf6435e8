"""Data-loading worker processes: how they stop, and what happens when one dies."""

import atexit
import multiprocessing
import multiprocessing.util  # registers its own step at exit; ours is registered later and therefore runs first
import signal
import threading
from collections.abc import Iterator
from typing import Any

from torch.utils.data import DataLoader

from utils.errors import UserError


class WorkerDied(UserError):
    """A data-loading worker ended without being asked to: out of memory, killed, or crashed in a codec."""


def leave_stopping_to_parent(_: int) -> None:
    """`worker_init_fn`: the worker ignores Ctrl-C and SIGTERM.

    Terminals and schedulers send both to every process of a job; only the main process decides what they mean.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


@atexit.register
def _end_workers() -> None:
    # A loader that was not read to its end still has workers when the program ends. multiprocessing would send them
    # SIGTERM, which they ignore, and wait for ever.
    for child in multiprocessing.active_children():
        if child.daemon:
            child.kill()


def batches(loader: DataLoader) -> Iterator[Any]:
    """The loader's batches.

    Raises:
        WorkerDied: a worker died. It is raised where the next batch is taken. PyTorch would raise it from a signal
            handler, at any point of the main program.
    """
    loaded = iter(loader)
    if hasattr(signal, "SIGCHLD") and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    try:
        yield from loaded
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise WorkerDied(f"a data-loading worker died ({str(error).splitlines()[0]})") from error
