"""Atomic writes, checks of output files, and errors of parsers."""

import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from .errors import UserError, shorten


def write_atomic(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Writes a file atomically: after a kill or a power failure it has the new or the old content.

    Missing folders are created. The content is written to a hidden temporary file in the same folder and synced to
    disk; the temporary file then replaces `path`. Links are followed.

    Args:
        path: output file.
        write: function that writes to the open binary file.

    Raises:
        UserError: the file cannot be written (disk full, no permission).
    """
    path = Path(os.path.realpath(path))
    partial = _temporary(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        _sync(path.parent)
    except (OSError, RuntimeError) as error:
        cause = error.__context__  # torch.save raises a RuntimeError while it handles a full disk or Ctrl-C
        if isinstance(cause, KeyboardInterrupt):
            raise KeyboardInterrupt from None
        reason = cause if isinstance(cause, OSError) else error
        raise UserError(f"{path}: cannot be written ({shorten(reason)}); it was not changed") from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Writes a file atomically."""
    write_atomic(path, lambda file: file.write(content))


def write_text(path: Path, text: str) -> None:
    """Writes a UTF-8 text file atomically."""
    write_bytes(path, text.encode("utf-8"))


def write_folder(folder: Path, fill: Callable[[Path], None]) -> None:
    """Creates or replaces a folder. After a kill, it is complete or absent.

    `fill` writes to a temporary folder, which is then renamed. Links are followed.

    Raises:
        UserError: the folder cannot be written.
    """
    folder = Path(os.path.realpath(folder))
    partial = _temporary(folder)
    try:
        partial.mkdir(parents=True)
        fill(partial)
        for path in partial.rglob("*"):
            _sync(path)
        shutil.rmtree(folder, ignore_errors=True)
        partial.replace(folder)
        _sync(folder.parent)
    except OSError as error:
        raise UserError(f"{folder}: cannot be written ({error})") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def check_writable(folder: Path) -> None:
    """Creates the folder and checks that it is writable.

    Raises:
        UserError: the folder is not writable.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UserError(f"{folder}: cannot be written ({error.strerror})") from error


def check_regular(path: Path) -> None:
    """Checks that `path` is a regular file or missing: reading a pipe or a device could wait forever.

    Raises:
        UserError: `path` exists and is not a regular file.
    """
    if path.exists() and not path.is_file():
        raise UserError(f"{path}: is {'a folder' if path.is_dir() else 'a pipe or a device'}; expected a regular file")


@contextmanager
def parsing(path: Path, expected: str, remedy: str = "") -> Iterator[None]:
    """Context for parsing a file: converts any exception to a one-line UserError.

    Args:
        path: file path. A pipe is an error, because reading it could wait forever.
        expected: expected content, for example "a readable split file".
        remedy: advice for the message, for example "copy it again".

    Raises:
        UserError: the file is missing or does not have the expected content.
    """
    advice = f"; {remedy}" if remedy else ""
    try:
        check_regular(path)
        yield
    except (UserError, MemoryError):
        raise
    except OSError as error:
        missing = isinstance(error, FileNotFoundError | NotADirectoryError)
        reason = "not found" if missing else error.strerror or shorten(error)
        raise UserError(f"{path}: cannot be read ({reason}){advice}") from error
    except Exception as error:  # parsers raise errors of any kind for damaged or hostile files
        reason = f"lacks {error}" if isinstance(error, KeyError) else shorten(error) or type(error).__name__
        raise UserError(f"{path}: not {expected} ({reason}){advice}") from error


def check_suffix(option: str, path: Path, suffixes: Sequence[str]) -> None:
    """Checks the suffix of an output file.

    Raises:
        UserError: the suffix is not one of `suffixes`.
    """
    if path.suffix.lower() not in suffixes:
        raise UserError(f"{option}: found {path}; allowed: a file name that ends in {' or '.join(suffixes)}")


def check_replaceable(option: str, path: Path, marker: bytes) -> None:
    """Checks, before anything is computed, that an output file is absent or was written by the same command.

    Args:
        option: name of the option, the start of the message.
        path: output file.
        marker: bytes in every file that the command writes.

    Raises:
        UserError: the file exists and does not contain the marker.
    """
    if not path.exists():
        return
    with parsing(path, "readable"):
        content = path.read_bytes()
    if content and marker not in content:
        raise UserError(
            f"{option}: {path} exists and does not look like an output of this command; remove it or give another name"
        )


def _temporary(path: Path) -> Path:
    """Returns a unique hidden name in the folder of `path`."""
    return path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.partial")


def _sync(path: Path) -> None:
    """Syncs a file or folder to disk, where the system supports it (not on Windows and some network file systems)."""
    with suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
