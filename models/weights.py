"""Weights files: find them, fetch them, check them."""


class WeightsError(RuntimeError):
    """A weights file is missing, cannot be fetched or does not fit. The message is one line with the way out."""
