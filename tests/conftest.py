"""Fixtures for several test files."""

from tests.models.arniqa_files import encoder, experiment, released

__all__ = ["encoder", "experiment", "released"]
