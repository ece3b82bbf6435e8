"""The error that this package raises for user mistakes."""


class WeightsError(RuntimeError):
    """A weights file is missing, invalid or cannot be downloaded. The message is one line and says how to fix it."""
