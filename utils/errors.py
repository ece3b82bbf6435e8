"""A user's mistake: one line on standard error and a non-zero exit code, without a traceback."""

import sys
from collections.abc import Callable


class UserError(Exception):
    """Bad input. The message is one line: the file or key, what was found, and what would be right."""


def run_command(command: Callable[[], int | None], *mistakes: type[Exception]) -> None:
    """Runs a script's main function and exits with its return value (None counts as 0).

    A `UserError` prints its message on standard error and exits with code 2; Ctrl-C prints one line and exits with
    code 130. Any other exception is a programmer's mistake and keeps its traceback.

    Args:
        command: the main function.
        mistakes: further exception classes that report a user's mistake, such as `models.errors.WeightsError`.
    """
    caught: tuple[type[Exception], ...] = (UserError, *mistakes)
    try:
        code = command()
    except caught as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        sys.exit(130)
    sys.exit(code or 0)
