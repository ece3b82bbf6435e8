"""Fixtures for several test files."""

import signal

import hypothesis
import pytest

from tests.models.arniqa_files import encoder, experiment, released

__all__ = ["encoder", "experiment", "released"]

hypothesis.settings.register_profile("no deadline", deadline=None)  # no test depends on the speed of the machine
hypothesis.settings.load_profile("no deadline")

# SIGTERM stops the tests as Ctrl-C does, so that they end the processes that they started. A shell lets its background
# jobs ignore Ctrl-C, and the processes that they start.
signal.signal(signal.SIGTERM, signal.default_int_handler)
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With pytest-xdist, a file's tests run in one process, because they share fixtures; see also `one_at_a_time`."""
    for item in items:
        if item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(item.nodeid.split("::")[0]))
