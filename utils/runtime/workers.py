"""Data-loading worker processes: how many, what they import, how they stop, and what happens when one dies."""

import atexit
import multiprocessing
import multiprocessing.util  # registers its own step at exit; ours is registered later and therefore runs first
import os
import re
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from multiprocessing import resource_tracker
from typing import Any

from torch.utils.data import DataLoader

from models.errors import UserError

NO_ROOM = re.compile(r"</torch_.*No space left on device")  # what PyTorch says if /dev/shm is full

if "forkserver" in multiprocessing.get_all_start_methods():  # the default on Linux from Python 3.14
    multiprocessing.set_forkserver_preload(["torch"])  # workers then share what importing it takes


class WorkerDied(UserError):
    """A data-loading worker ended without being asked to: out of memory, killed, or crashed in a codec."""


@cache
def worker_count(wanted: int) -> int:
    """The number of workers to start: as wanted, but not more than there are CPU cores, which is said once.

    The processes that `torchrun` started on this machine share its cores.
    """
    # On Linux a process may be allowed only some of the cores.
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    most = max(1, cores // processes)
    if wanted > most and int(os.environ.get("LOCAL_RANK", 0)) == 0:
        shared = f" for {processes} processes" if processes > 1 else ""
        print(f"num_workers: {wanted}, but there are {cores} CPU cores{shared}; using {most}", file=sys.stderr)
    return min(wanted, most)


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

    Its workers do not import the main script. So what the loader is made of must be defined in modules, unless the
    dataset is defined in the script.

    Raises:
        WorkerDied: a worker died, or found no shared memory. It is raised where the next batch is taken. PyTorch would
            raise it from a signal handler, at any point of the main program.
    """
    with starting(loader.dataset):
        loaded = iter(loader)
    workers = multiprocessing.active_children()
    if hasattr(signal, "SIGCHLD") and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    try:
        yield from loaded
    except RuntimeError as error:
        bus_error = hasattr(signal, "SIGBUS") and any(worker.exitcode == -signal.SIGBUS for worker in workers)
        if bus_error or NO_ROOM.search(str(error)):
            raise WorkerDied(
                "the data-loading workers need more shared memory than /dev/shm has; start a container with --ipc=host "
                "or --shm-size=8g, or set num_workers to 0"
            ) from error
        if "DataLoader worker (pid" not in str(error):
            raise
        raise WorkerDied(f"a data-loading worker died ({str(error).splitlines()[0]})") from error


@contextmanager
def starting(dataset: Any = None) -> Iterator[None]:
    """For starting processes that are not forked: without the main script, and deaf to Ctrl-C and SIGTERM.

    The script imports hundreds of megabytes of which a sample needs nothing. If it defines the dataset, they import it.
    Until such a process has imported PyTorch and got to `worker_init_fn`, a signal would end it.
    """
    main = vars(sys.modules["__main__"])
    names = () if type(dataset).__module__ == "__main__" else ("__spec__", "__file__")
    found: dict[str, Any] = {name: main[name] for name in names if name in main}
    main.update(dict.fromkeys(found))  # multiprocessing takes None for an interactive session
    try:
        with _signals_blocked():
            yield
    finally:
        main.update(found)


@contextmanager
def _signals_blocked() -> Iterator[None]:
    """Ctrl-C and SIGTERM wait until the end of the context; processes that are started within never get them."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    resource_tracker.ensure_running()  # unblocks them where it starts
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
