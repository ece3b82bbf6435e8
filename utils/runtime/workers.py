"""Data-loading worker processes: number, start, signals, and errors."""

import atexit
import multiprocessing
import multiprocessing.util  # registers its exit handler; ours is registered later and therefore runs first
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

NO_ROOM = re.compile(r"</torch_.*No space left on device")  # PyTorch's error if /dev/shm is full

if "forkserver" in multiprocessing.get_all_start_methods():  # the default on Linux from Python 3.14
    multiprocessing.set_forkserver_preload(["torch"])  # the workers share its memory


class WorkerDied(UserError):
    """A data-loading worker ended unexpectedly: out of memory, killed, or crashed in a codec."""


@cache
def worker_count(wanted: int) -> int:
    """Returns the number of workers to start: at most one per CPU core. A reduced number is printed once.

    The processes of `torchrun` on this machine share its cores.
    """
    # On Linux a process may be allowed only some of the cores.
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    most = max(1, cores // processes)
    if wanted > most and int(os.environ.get("LOCAL_RANK", 0)) == 0:
        shared = f" for {processes} processes" if processes > 1 else ""
        print(f"num_workers: {wanted}, but there are {cores} CPU cores{shared}; using {most}", file=sys.stderr)
    return min(wanted, most)


def ignore_signals(_: int) -> None:
    """`worker_init_fn` that makes data-loading workers ignore Ctrl-C and SIGTERM.

    Terminals and schedulers send both to every process of a job; only the main process handles them.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


@atexit.register
def _end_workers() -> None:
    # If a loader was not read to its end, its workers still run when the program ends. multiprocessing would send
    # SIGTERM to them, and wait forever because they ignore it.
    for child in multiprocessing.active_children():
        if child.daemon:
            child.kill()


def batches(loader: DataLoader) -> Iterator[Any]:
    """Yields the loader's batches.

    The workers do not import the main script, unless it defines the dataset. So other parts of the loader must be
    defined in modules.

    Raises:
        WorkerDied: a worker died or ran out of shared memory. The error is raised when the next batch is read; PyTorch
            would raise it from a signal handler, at any point of the main program.
    """
    with starting_processes(loader.dataset):
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
        raise WorkerDied(
            f"a data-loading worker died ({str(error).splitlines()[0]}); if memory ran out, reduce num_workers"
        ) from error


@contextmanager
def starting_processes(dataset: Any = None) -> Iterator[None]:
    """Context for starting worker processes with SIGINT and SIGTERM blocked and without the main script.

    Processes that are not forked would import the main script: about 280 MB that a worker does not need. A script that
    defines the dataset is imported. A signal would end a process before it reaches `worker_init_fn`, so both signals
    are blocked: the processes inherit this, and in the main process the signals are deferred to the end of the context.
    """
    main = vars(sys.modules["__main__"])
    names = () if type(dataset).__module__ == "__main__" else ("__spec__", "__file__")
    hidden: dict[str, Any] = {name: main[name] for name in names if name in main}
    can_block = hasattr(signal, "pthread_sigmask")  # not on Windows
    if can_block:
        resource_tracker.ensure_running()  # starting it inside the block would unblock the signals
        before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
    main.update(dict.fromkeys(hidden))  # with None, multiprocessing assumes an interactive session
    try:
        yield
    finally:
        if can_block:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        main.update(hidden)
