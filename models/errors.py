"""Errors for user mistakes. The message is one line: the file or key, what was found, and what is allowed."""


class UserError(Exception):
    """Bad input; a command prints the message and exits with code 2."""


class WeightsError(UserError, RuntimeError):
    """A weights file is missing, invalid or cannot be downloaded."""


class ImageError(UserError, ValueError):
    """An image cannot be read or scored, or `ARNIQA.score` got an invalid argument."""


def shorten(reason: object) -> str:
    """Shortens a message to one line of at most 200 characters."""
    line = " ".join(str(reason).split())
    return line if len(line) <= 200 else line[:197] + "..."
