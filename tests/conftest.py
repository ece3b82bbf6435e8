"""Fixtures for several test files."""

import signal

from tests.models.arniqa_files import encoder, experiment, released

__all__ = ["encoder", "experiment", "released"]

# SIGTERM stops the tests as Ctrl-C does, so that they end the processes that they started.
signal.signal(signal.SIGTERM, signal.default_int_handler)
