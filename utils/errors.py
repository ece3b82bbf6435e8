"""A user's mistake, told in one line and with a non-zero exit, without a traceback."""

import sys
from collections.abc import Callable


class UserError(Exception):
    """Bad input. The message is one line: the file or key, what was found, and what would be right."""


def run_command(command: Callable[[], int | None]) -> None:
    """Runs a script's main function and exits with its return value (None counts as 0).

    A `UserError` ends the process with its message on standard error and exit code 2, Ctrl-C with one line and exit
    code 130. Any other exception is a programmer's mistake and keeps its traceback.
    """
    try:
        code = command()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        sys.exit(130)
    sys.exit(code or 0)
