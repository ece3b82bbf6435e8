"""The one error of this package that a user can cause."""


class WeightsError(RuntimeError):
    """A weights file is missing, not to be had or does not fit. The message is one line with the way out."""
