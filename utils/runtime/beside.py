"""Work that goes on beside the main program."""

import multiprocessing
import os
import threading
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, Generic, TypeVar

from utils.runtime.workers import starting

T = TypeVar("T")


class Beside(Generic[T]):
    """One call in a process of its own, which ends with the program.

    A thread would not do: data-loading workers are forked, and a fork while another thread is in a matrix product can
    wait for ever.

    Args:
        work: what to call, a function of a module; it must not raise.
        arguments: of the call.
    """

    def __init__(self, work: Callable[..., T], *arguments: Any) -> None:
        context = multiprocessing.get_context("spawn")
        self._results, sender = context.Pipe(duplex=False)
        self._process = context.Process(target=_call, args=(sender, work, arguments), daemon=True)
        with starting():
            self._process.start()
        sender.close()

    def ended(self) -> bool:
        return self._results.poll()

    def result(self) -> T | None:
        """Waits for the call and returns what it returned; None if its process was killed."""
        try:
            return self._results.recv()
        except EOFError:
            return None
        finally:
            self._process.join()

    def stop(self) -> None:
        """Ends the process, whatever it is doing."""
        self._process.kill()
        self._process.join()


def _call(sender: Connection, work: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    sender.send(work(*arguments))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()  # also if it was killed
    os._exit(1)
