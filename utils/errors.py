"""How a command ends: a user's mistake and Ctrl-C give one line and a non-zero exit code, without a traceback."""

import errno
import os
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

from models.errors import UserError
from utils.output import make_output_last, output_failed

__all__ = ["UserError", "end_quietly_on_interrupt", "run_command"]


def end_quietly_on_interrupt() -> None:
    """Until `run_command` takes over, Ctrl-C ends the process with exit code 130 and nothing else.

    A command calls it before its other imports, which take seconds, if it is `__main__`.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else Ctrl-C is ignored, as under nohup
        signal.signal(signal.SIGINT, _end)


def run_command(command: Callable[[], int | None]) -> None:
    """Runs a script's main function and exits with its return value (None counts as 0).

    A `UserError` prints its message on standard error and exits with code 2, and so does a name that the file system
    finds too long. Ctrl-C prints one line and exits with code 130. Any other exception is a programmer's mistake and
    keeps its traceback. Characters that a stream cannot encode are escaped. Output that nobody reads (`| head -1`) is
    dropped; if it cannot be written for another reason, one line says so and the exit code is not 0.
    """
    make_output_last()
    try:
        if signal.getsignal(signal.SIGINT) is _end:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        code: int | str | None = command() or 0
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        code = 2
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        print(f"error: {error.filename!s:.60}...: {error.strerror}", file=sys.stderr)
        code = 2
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        code = 130
    except SystemExit as ended:  # --help
        code = ended.code
    sys.exit((code or 2) if output_failed() else code)


def _end(_: int, __: FrameType | None) -> NoReturn:
    os._exit(130)
