"""Runs commands: expected errors and Ctrl-C print one line without a traceback and exit with an error code."""

import errno
import io
import os
import sys
from collections.abc import Callable
from typing import Any

import torch

from models.errors import UserError, escape_controls, shorten

NAMED_ERRORS = {getattr(errno, name, None) for name in ("ENAMETOOLONG", "ENOSPC", "EDQUOT")}
READER_LEFT = (errno.EPIPE, errno.EINVAL) if os.name == "nt" else (errno.EPIPE,)


def run_command(command: Callable[[], int | None]) -> None:
    """Runs a script's main function and exits with its return value (None counts as 0).

    A `UserError`, lack of memory, a full disk and a too long file name print one line on standard error and exit with
    code 2, Ctrl-C with 130. Other exceptions are bugs and keep their traceback. If output cannot be written, it is
    dropped and the command continues. If the cause is not a closed pipe (`| head -1`), an error line follows and the
    exit code is not 0.
    """
    sys.stdout, sys.stderr = _Stream.replacing(sys.stdout), _Stream.replacing(sys.stderr)
    code: Any
    try:
        code = command() or 0
    except UserError as error:
        code = _fail(f"error: {error}")
    except (OSError, MemoryError, RuntimeError) as error:
        if _is_out_of_memory(error):
            line = shorten(str(error).strip().rpartition("DefaultCPUAllocator: can't allocate memory: ")[2])
            code = _fail(
                f"error: out of memory ({line or 'no details'}); use smaller batches or crops, or fewer workers"
            )
        elif isinstance(error, OSError) and error.errno in NAMED_ERRORS:
            code = _fail(f"error: {shorten(error.filename or 'a file')}: {error.strerror}")
        else:
            raise
    except KeyboardInterrupt:
        code = _fail("stopped", 130)
    except SystemExit as ended:  # --help
        code = ended.code
    if sys.stdout is not None:
        sys.stdout.flush()
    failure = getattr(sys.stdout, "failure", None)
    if failure is not None and failure.errno not in READER_LEFT:
        failed = _fail(f"error: standard output cannot be written ({failure.strerror})")
        code = code or failed
    sys.exit(code)


def output_dropped() -> bool:
    """Whether standard output is known to be lost."""
    return getattr(sys.stdout, "failure", None) is not None


def _is_out_of_memory(error: Exception) -> bool:
    """Whether Python, NumPy or PyTorch could not allocate memory. PyTorch has its own exception on GPUs only."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "allocate memory" in str(error)


def _fail(line: str, code: int = 2) -> int:
    print(escape_controls(line), file=sys.stderr)
    return code


class _Stream(io.TextIOWrapper):
    """Standard stream that escapes characters missing in its encoding, and drops output that cannot be written.

    Attributes:
        failure: first write error; all later output is dropped.
    """

    failure: OSError | None = None

    @classmethod
    def replacing(cls, stream: Any) -> Any:
        """Wraps a standard stream. Other streams (test runner) and None (no console) are returned unchanged."""
        if type(stream) is not io.TextIOWrapper:
            return stream
        return cls(
            stream.buffer,
            stream.encoding,
            "backslashreplace",
            line_buffering=stream.line_buffering,
            write_through=stream.write_through,
        )

    def write(self, text: str) -> int:
        try:
            return super().write(text)
        except OSError as error:
            self._drop(error)
            return len(text)

    def flush(self) -> None:
        try:
            super().flush()
        except OSError as error:
            self._drop(error)

    def close(self) -> None:
        """Flushes only: the replaced stream owns the file."""
        self.flush()

    def _drop(self, error: OSError) -> None:
        self.failure = error
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, self.fileno())  # also discards the buffered output
        os.close(null)
