"""Stopping a long run on request: SIGTERM and Ctrl-C."""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SAME_REQUEST = 1.0  # seconds within which a second Ctrl-C counts as the first: `timeout -s INT` signals twice


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
        """The signal handler: notes the first request; a second Ctrl-C raises KeyboardInterrupt.

        A second SIGTERM says nothing new, also if it is handled much later: `timeout` sends two, and a handler waits
        for the end of a long computation. SIGKILL ends a run at once.
        """
        first, now = self.signal is None, time.monotonic()
        if not first and (number == signal.SIGTERM or now - self._since < SAME_REQUEST):
            return
        self.signal, self._since = signal.Signals(number), now
        if self._at_once or not first:
            raise KeyboardInterrupt

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Within the context a request raises KeyboardInterrupt at once, also a request made before."""
        self._at_once = True
        try:
            if self.signal is not None:
                raise KeyboardInterrupt
            yield
        finally:
            self._at_once = False


@contextmanager
def stop_on_signal(request: StopRequest) -> Iterator[None]:
    """Within the context SIGTERM and Ctrl-C set the request instead of ending the process.

    The previous handlers are restored at the end, but not after a request: the process is about to end, and a second
    signal must not cut that short.
    """
    before = {number: signal.signal(number, request.handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        if not request:
            for number, handler in before.items():
                signal.signal(number, handler)
