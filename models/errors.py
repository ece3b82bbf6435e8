"""The errors that this package raises for user mistakes. Their messages are one line and say how to fix it."""


class WeightsError(RuntimeError):
    """A weights file is missing, invalid or cannot be downloaded."""


class ImageError(ValueError):
    """An image cannot be read or scored, or `ARNIQA.score` got an argument that it does not take."""
