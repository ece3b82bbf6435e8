"""utils.runtime.signals: which signals ask for a stop, and which for an end at once."""

import signal

import pytest

from utils.runtime import signals
from utils.runtime.signals import StopRequest, stop_on_signal


class Clock:
    now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    monkeypatch.setattr(signals, "time", Clock())
    return signals.time  # type: ignore[attr-defined, no-any-return]


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM])
def test_a_second_ctrl_c_ends_the_run_and_a_second_sigterm_does_not(clock: Clock, first: signal.Signals) -> None:
    """A second SIGTERM is handled late if the run is in a long computation when it comes."""
    request = StopRequest()
    request.handle(first, None)
    clock.now += 10
    request.handle(signal.SIGTERM, None)
    with pytest.raises(KeyboardInterrupt):
        request.handle(signal.SIGINT, None)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_handlers_stay_after_a_request_and_go_without_one(number: signal.Signals) -> None:
    """The second signal met Python's own handlers while the run said how to resume."""
    before = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        with stop_on_signal(StopRequest()):
            pass
        assert {each: signal.getsignal(each) for each in before} == before
        request = StopRequest()
        with stop_on_signal(request):
            signal.raise_signal(number)
        signal.raise_signal(number)
        assert request.signal is number
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def test_a_signal_that_arrives_twice_interrupts_once(clock: Clock) -> None:
    request = StopRequest()
    with request.at_once():
        with pytest.raises(KeyboardInterrupt):
            request.handle(signal.SIGTERM, None)
        request.handle(signal.SIGTERM, None)
    with pytest.raises(KeyboardInterrupt), request.at_once():
        pass
