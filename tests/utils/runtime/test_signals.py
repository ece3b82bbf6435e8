"""utils.runtime.signals: which signals ask for a stop, and which for an end at once."""

import signal

import pytest

from utils.runtime import signals
from utils.runtime.signals import StopRequest


class Clock:
    now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    monkeypatch.setattr(signals, "time", Clock())
    return signals.time  # type: ignore[attr-defined, no-any-return]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_arrives_twice_within_a_second_is_one_request(clock: Clock, number: signal.Signals) -> None:
    """`timeout` and torchrun signal a process and its group; the second signal ended the run with nothing saved."""
    request = StopRequest()
    request.handle(number, None)
    clock.now += 0.9
    request.handle(number, None)
    assert request.signal is number


def test_a_second_request_ends_the_run_at_once(clock: Clock) -> None:
    request = StopRequest()
    request.handle(signal.SIGINT, None)
    clock.now += 1
    with pytest.raises(KeyboardInterrupt):
        request.handle(signal.SIGINT, None)


def test_a_signal_that_arrives_twice_interrupts_once(clock: Clock) -> None:
    request = StopRequest()
    with request.at_once():
        with pytest.raises(KeyboardInterrupt):
            request.handle(signal.SIGTERM, None)
        request.handle(signal.SIGTERM, None)
    with pytest.raises(KeyboardInterrupt), request.at_once():
        pass
