"""Work that goes on beside the main program."""

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Beside(Generic[T]):
    """One call in a thread of its own. A program that ends does not wait for it.

    Args:
        work: what to call; it must not raise.
    """

    def __init__(self, work: Callable[[], T]) -> None:
        self._results: list[T] = []
        self._thread = threading.Thread(target=lambda: self._results.append(work()), daemon=True)
        self._thread.start()

    def ended(self) -> bool:
        return not self._thread.is_alive()

    def result(self) -> T:
        """Waits for the call and returns what it returned."""
        self._thread.join()
        return self._results[0]
