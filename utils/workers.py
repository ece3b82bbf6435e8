"""Data-loading worker processes: how they stop, and what happens when one dies."""

import atexit
import multiprocessing
import multiprocessing.util  # its own end-of-program step is registered by this import, so ours below runs first
import signal
import threading
from collections.abc import Iterator
from typing import Any

from torch.utils.data import DataLoader

from utils.errors import UserError


class WorkerDied(UserError):
    """A data-loading worker ended without being asked to: out of memory, killed, or crashed in a codec."""


def leave_stopping_to_parent(_: int) -> None:
    """For a worker's start: only the main process decides what Ctrl-C and SIGTERM mean.

    Both reach a worker too when they are sent to all processes of a job, as terminals and schedulers do.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


@atexit.register
def _end_workers() -> None:
    # A loader that was left in the middle of its data still has workers when the program ends. multiprocessing sends
    # them SIGTERM, which they ignore, and would wait for them for ever.
    for child in multiprocessing.active_children():
        if child.daemon:
            child.kill()


def batches(loader: DataLoader) -> Iterator[Any]:
    """The loader's batches.

    Raises:
        WorkerDied: a worker did. It is raised here, where the next batch is taken, and not from the signal that tells
            of a worker's end, whose handler PyTorch lets raise at any point of the main program.
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
