"""Errors for user mistakes. The message is one line: the file or key, what was found, and what is allowed."""

import re


class UserError(Exception):
    """Invalid input; commands print the message and exit with code 2."""


class WeightsError(UserError, RuntimeError):
    """A weights file is missing, invalid or cannot be downloaded."""


class ImageError(UserError, ValueError):
    """An image cannot be read or scored, or `ARNIQA.score` got an invalid argument."""


def escape_controls(text: object) -> str:
    """Escapes control characters, so that the text is one line (a file name may have a line break)."""
    return re.sub(r"[\x00-\x1f\x7f]", lambda found: repr(found[0])[1:-1], str(text))


def shorten(reason: object) -> str:
    """Shortens a message to one line of at most 200 characters."""
    line = " ".join(str(reason).split())
    return line if len(line) <= 200 else line[:197] + "..."
