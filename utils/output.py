"""Standard output and standard error that outlive their reader."""

import errno
import io
import os
import sys
from typing import TextIO

READER_LEFT = {errno.EPIPE, errno.EINVAL} if os.name == "nt" else {errno.EPIPE}


class LastingStream(io.TextIOWrapper):
    """Takes the place of a standard stream. What cannot be written is dropped, so that it ends no computation.

    That the reader leaves (`| head -1`) is no mistake. Another reason, such as a full disk, is printed.

    Attributes:
        dropped: whether the stream takes nothing any more.
        failed: whether it is so for another reason than that its reader left.
    """

    def __init__(self, stream: io.TextIOWrapper) -> None:
        super().__init__(
            stream.buffer,
            stream.encoding,
            "backslashreplace",  # a code page may lack characters of a file name
            line_buffering=stream.line_buffering,
            write_through=stream.write_through,
        )
        self.dropped = self.failed = False

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
        """Only flushes: the file belongs to the stream whose place this one takes."""
        self.flush()

    def _drop(self, error: OSError) -> None:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, self.fileno())  # takes what the buffers hold, too
        os.close(null)
        self.dropped, self.failed = True, error.errno not in READER_LEFT
        if self.failed and self is not sys.stderr:
            print(f"error: standard output cannot be written ({error.strerror})", file=sys.stderr)


def make_output_last() -> None:
    """Replaces the standard streams of this process by ones that last."""
    sys.stdout, sys.stderr = _lasting(sys.stdout), _lasting(sys.stderr)


def output_dropped() -> bool:
    """Whether nobody gets what is printed, as far as is known."""
    return isinstance(sys.stdout, LastingStream) and sys.stdout.dropped


def output_failed() -> bool:
    """Whether something was printed that could not be written; flushes."""
    if not isinstance(sys.stdout, LastingStream):
        return False
    sys.stdout.flush()
    return sys.stdout.failed


def _lasting(stream: TextIO) -> TextIO:
    """Test runners put streams of their own kind there, and a process without a console has None."""
    return LastingStream(stream) if type(stream) is io.TextIOWrapper else stream
