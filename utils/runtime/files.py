"""Files that are complete or absent, and files that grow."""

import errno
import os
import secrets
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from filelock import FileLock, Timeout

from utils.errors import UserError

# Errors of file systems without locks; not every system has all of these names.
NO_LOCKS = {getattr(errno, name, None) for name in ("ENOLCK", "ENOTSUP", "EOPNOTSUPP", "ENOSYS")} - {None}
PATIENCE = 10  # seconds to wait for a lock: the workers of a killed process end, and let go of it, after about 5


def write_whole(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Makes `path` hold all of what `write` writes, or what it held before, even after a kill or a power cut.

    The content goes to a hidden file beside it, whose name no other process uses, and is on disk before that file takes
    the place of `path`. Missing folders are made.

    Args:
        path: of the file.
        write: gets the open binary file.

    Raises:
        UserError: the file cannot be written (disk full, no permission).
    """
    partial = _beside(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        _sync_folder(path.parent)
    except (OSError, RuntimeError) as error:  # torch.save reports a full disk as a RuntimeError
        if isinstance(error.__context__, KeyboardInterrupt):  # and so it does Ctrl-C
            raise KeyboardInterrupt from None
        raise UserError(f"{path}: cannot be written ({error}); nothing was changed") from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Writes a file by `write_whole`."""
    write_whole(path, lambda file: file.write(content))


def write_text(path: Path, text: str) -> None:
    """Writes a UTF-8 text file by `write_whole`."""
    write_bytes(path, text.encode("utf-8"))


def make_folder_whole(folder: Path, fill: Callable[[Path], None]) -> None:
    """Makes `folder` by filling another one beside it and renaming that, so that a kill leaves it complete or absent.

    A folder that is already there is replaced.

    Raises:
        UserError: it cannot be written.
    """
    partial = _beside(folder)
    try:
        partial.mkdir(parents=True)
        fill(partial)
        shutil.rmtree(folder, ignore_errors=True)
        partial.replace(folder)
    except OSError as error:
        raise UserError(f"{folder}: cannot be written ({error})") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def check_writable(folder: Path) -> None:
    """Finds out whether files can be written into a folder, which is made.

    Raises:
        UserError: they cannot.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UserError(f"{folder}: cannot be written ({error.strerror})") from error


def check_regular(path: Path) -> None:
    """Checks that reading `path` cannot wait for ever, as reading a pipe or a device can. A missing file passes.

    Raises:
        UserError: it exists and is not a regular file.
    """
    if path.exists() and not path.is_file():
        raise UserError(f"{path}: is {'a folder' if path.is_dir() else 'a pipe or a device'}; expected a regular file")


def check_output(option: str, path: Path, suffixes: Sequence[str], marker: bytes) -> None:
    """Checks that a command may write its output to `path`, before it computes anything.

    Args:
        option: begins the message.
        path: of the output file.
        suffixes: allowed suffixes, such as ".html".
        marker: bytes near the beginning or the end of every file that the command writes.

    Raises:
        UserError: the suffix is another one, or there is something that the command did not write.
    """
    if path.suffix.lower() not in suffixes:
        raise UserError(f"{option}: found {path}; allowed: a file name that ends in {' or '.join(suffixes)}")
    check_regular(path)
    if path.exists() and not _has(path, marker):
        raise UserError(f"{option}: {path} exists and was not written by this command; remove it or give another name")


def _has(path: Path, marker: bytes) -> bool:
    """Whether the marker is in the first or the last 64 KiB of a file; an empty file has every marker."""
    size = 2**16
    try:
        with path.open("rb") as file:
            start = file.read(size)
            file.seek(max(0, file.seek(0, os.SEEK_END) - size))
            return not start or marker in start or marker in file.read(size)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error


class Taken(UserError):
    """Another process has the lock."""


@contextmanager
def locked(path: Path, wait: str | None = None, patience: float | None = None) -> Iterator[None]:
    """Within the context no other process that asks for `path` goes on.

    The lock is the operating system's and ends with the process, so a killed process leaves none behind. The hidden
    file `.NAME.lock` beside `path` stays and means nothing. On a file system without locks a line says so.

    Args:
        path: of a file, which need not exist. Its folder is made.
        wait: what to print before waiting for another process. By default a lock that is taken is an error.
        patience: seconds until then; `PATIENCE` by default.

    Raises:
        Taken: another process has the lock.
        UserError: the folder cannot be written.
    """
    lock = FileLock(path.with_name(f".{path.name}.lock"))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0 if wait else PATIENCE if patience is None else patience)
        except Timeout:
            if wait is None:
                raise Taken(f"{path}: another process is writing to it; let it finish or stop it") from None
            print(wait, file=sys.stderr)
            lock.acquire()
    except (OSError, NotImplementedError) as error:
        if isinstance(error, OSError) and error.errno not in NO_LOCKS:
            raise UserError(f"{path}: cannot be written ({error})") from error
        print(f"{path}: this file system has no locks; let one process at a time write to it", file=sys.stderr)
    try:
        yield
    finally:
        lock.release()


class GrowingFile:
    """A file that one process at a time appends to. What was appended is on disk when `append` returns.

    It is locked (see `locked`) from opening to closing.

    Args:
        path: of the file; it and its folder are made if they are missing.

    Raises:
        UserError: another process has the file open, or it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with ExitStack() as opened:
            opened.enter_context(locked(path))
            self._open()
            opened.callback(lambda: self._file.close())
            self._opened = opened.pop_all()

    def append(self, data: bytes) -> None:
        """Adds data at the end.

        Raises:
            UserError: it cannot be written (disk full); the file keeps what it held before.
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
            raise UserError(f"{self.path}: cannot be written ({error}); it keeps what it held before") from error

    def truncate(self, size: int) -> None:
        """Drops everything after the first `size` bytes."""
        try:
            self._file.truncate(size)
        except OSError as error:
            raise UserError(f"{self.path}: cannot be written ({error})") from error

    def replace(self, data: bytes) -> None:
        """Replaces the whole content by `write_whole`."""
        self._file.close()  # Windows replaces no open file
        write_bytes(self.path, data)
        self._open()

    def close(self) -> None:
        self._opened.close()

    def __enter__(self) -> "GrowingFile":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open(self) -> None:
        try:
            self._file = self.path.open("ab", buffering=0)  # a buffer would keep what a full disk did not take
        except OSError as error:
            raise UserError(f"{self.path}: cannot be written ({error})") from error


def _beside(path: Path) -> Path:
    """A hidden name beside `path` that no other process uses."""
    return path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.partial")


def _sync_folder(folder: Path) -> None:
    """Puts a rename in the folder on disk. Windows has no such call, and some network file systems refuse it."""
    if os.name == "nt":
        return
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
