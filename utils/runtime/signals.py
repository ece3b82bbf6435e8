"""Handles stop requests during a long run: SIGTERM and Ctrl-C."""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SAME_REQUEST = 1.0  # seconds within which a second Ctrl-C is ignored: `timeout -s INT` sends the signal twice


class Stopped(Exception):
    """The run received the signal `signal_number`, saved its state and stops."""

    def __init__(self, signal_number: int, message: str) -> None:
        super().__init__(message)
        self.signal_number = signal_number


class StopRequest:
    """Records the first stop signal. It is true after a request."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self._since = 0.0
        self._at_once = False

    def __bool__(self) -> bool:
        return self.signal is not None

    def handle(self, number: int, _: FrameType | None) -> None:
        """Signal handler: records the first request; a second Ctrl-C raises KeyboardInterrupt.

        A second SIGTERM is ignored, even if it is handled much later: `timeout` sends two, and Python runs handlers
        only after a long computation ends. SIGKILL ends a run at once.
        """
        first, now = self.signal is None, time.monotonic()
        if not first and (number == signal.SIGTERM or now - self._since < SAME_REQUEST):
            return
        self.signal, self._since = signal.Signals(number), now
        if self._at_once or not first:
            raise KeyboardInterrupt

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Context in which a request, including an earlier one, raises KeyboardInterrupt at once."""
        self._at_once = True
        try:
            if self.signal is not None:
                raise KeyboardInterrupt
            yield
        finally:
            self._at_once = False


@contextmanager
def stop_on_signal(request: StopRequest) -> Iterator[None]:
    """Context in which SIGTERM and Ctrl-C set the request instead of ending the process.

    The previous handlers are restored at the end, except after a request: the process is then about to end, and a
    second signal must not interrupt it.
    """
    before = {number: signal.signal(number, request.handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        if not request:
            for number, handler in before.items():
                signal.signal(number, handler)
