"""Stopping a long run on request: SIGTERM and Ctrl-C."""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

# A signal that comes again within this time is the same request: `timeout` and torchrun signal a process and its group.
SAME_REQUEST = 1.0  # seconds


class Stopped(Exception):
    """The run was asked to stop and has saved its state; `signal_number` is the signal that asked."""

    def __init__(self, signal_number: int, message: str) -> None:
        super().__init__(message)
        self.signal_number = signal_number


class StopRequest:
    """Whether a stop was asked for, and by which signal. Its truth value is whether one was."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self._since = 0.0
        self._at_once = False

    def __bool__(self) -> bool:
        return self.signal is not None

    def handle(self, number: int, _: FrameType | None) -> None:
        """The signal handler: notes the first request; a second one raises KeyboardInterrupt."""
        first, now = self.signal is None, time.monotonic()
        if not first and now - self._since < SAME_REQUEST:
            return
        self.signal, self._since = signal.Signals(number), now
        if self._at_once or not first:
            raise KeyboardInterrupt

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Within the context a request raises KeyboardInterrupt at once, also a request made before."""
        if self.signal is not None:
            raise KeyboardInterrupt
        self._at_once = True
        try:
            yield
        finally:
            self._at_once = False


@contextmanager
def stop_on_signal(request: StopRequest) -> Iterator[None]:
    """Within the context SIGTERM and Ctrl-C set the request instead of ending the process.

    The previous handlers are restored at the end.
    """
    before = {number: signal.signal(number, request.handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
