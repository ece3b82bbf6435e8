"""Stopping a long run on request: SIGTERM and Ctrl-C."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Stopped(Exception):
    """The run was asked to stop and has saved its state; `signal_number` is the signal that asked."""

    def __init__(self, signal_number: int, message: str) -> None:
        super().__init__(message)
        self.signal_number = signal_number


class StopRequest:
    """Whether a stop was asked for, and by which signal. Its truth value is whether one was."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self._at_once = False

    def __bool__(self) -> bool:
        return self.signal is not None

    def handle(self, number: int, _: FrameType | None) -> None:
        """The signal handler: notes the first request; a second one raises KeyboardInterrupt."""
        interrupt = self._at_once or self.signal is not None
        self.signal = signal.Signals(number)
        if interrupt:
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
