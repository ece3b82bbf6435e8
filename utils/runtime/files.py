"""File locks, and files that are appended to."""

import errno
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from filelock import FileLock, Timeout

from models.errors import UserError
from models.files import check_regular, write_atomic

# Errors of file systems without locks; not every system has all of these names.
NO_LOCKS = {getattr(errno, name, None) for name in ("ENOLCK", "ENOTSUP", "EOPNOTSUPP", "ENOSYS")} - {None}
PATIENCE = 10  # seconds to wait for a lock: the workers of a killed process end, and release it, after about 5


@contextmanager
def locked(path: Path, wait: str = "", patience: float = PATIENCE) -> Iterator[None]:
    """Holds an exclusive lock on `path`.

    The operating system releases the lock when the process ends, even if it is killed. The hidden file `.NAME.lock`
    remains and can be deleted when no run is active. On a file system without locks, a warning is printed instead.

    Args:
        path: file path; the file may not exist. Its folder is created.
        wait: message to print before waiting for another process. By default, a lock of another process is an error.
        patience: seconds before that error.

    Raises:
        UserError: another process has the lock, or the folder cannot be written.
    """
    lock = FileLock(path.with_name(f".{path.name}.lock"))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0 if wait else patience)
        except Timeout:
            if not wait:
                raise UserError(f"{path}: another process is writing to it; let it finish or stop it") from None
            print(wait, file=sys.stderr)
            lock.acquire()
    except (OSError, NotImplementedError) as error:
        if isinstance(error, OSError) and error.errno not in NO_LOCKS:
            raise UserError(f"{path}: cannot be written ({error})") from error
        print(f"{path}: this file system has no locks; run only one process that writes to it", file=sys.stderr)
    try:
        yield
    finally:
        lock.release()


class GrowingFile:
    """File with exclusive append access. Appended data is on disk when `append` returns.

    It is locked (see `locked`) until it is closed.

    Args:
        path: file path; a missing file or folder is created.

    Raises:
        UserError: another process has the file open, or it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = ExitStack()
        self._lock.enter_context(locked(path))
        self._open()

    def append(self, data: bytes) -> None:
        """Appends data.

        Raises:
            UserError: the data cannot be written (disk full); the content of the file is unchanged.
        """
        end = self._file.seek(0, os.SEEK_END)
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
            os.fsync(self._file.fileno())
        except OSError as error:
            with suppress(OSError):
                self._file.truncate(end)
            raise UserError(f"{self.path}: cannot be written ({error}); its content is unchanged") from error

    def truncate(self, size: int) -> None:
        """Drops everything after the first `size` bytes."""
        self._file.truncate(size)

    def replace(self, write: Callable[[BinaryIO], object]) -> None:
        """Replaces the content atomically, see `write_atomic`."""
        self._file.close()  # Windows cannot replace an open file
        try:
            write_atomic(self.path, write)
        finally:
            self._open()

    def close(self) -> None:
        self._file.close()
        self._lock.close()

    def _open(self) -> None:
        check_regular(self.path)
        try:
            self._file = self.path.open("ab", buffering=0)  # a buffer would keep data that a full disk rejected
        except OSError as error:
            raise UserError(f"{self.path}: cannot be written ({error})") from error
