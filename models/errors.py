"""The errors that this package raises for user mistakes. Their messages are one line and say how to fix it."""


class WeightsError(RuntimeError):
    """A weights file is missing, invalid or cannot be downloaded."""


class ImageError(ValueError):
    """An image cannot be read or scored, or `ARNIQA.score` got an argument that it does not take."""


def shorten(reason: object) -> str:
    """Shortens a message to one line of at most 200 characters."""
    line = " ".join(str(reason).split())
    return line if len(line) <= 200 else line[:197] + "..."
