"""Reads files of tensors without executing code in them, and detects damaged files."""

import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch

from .errors import WeightsError, shorten


def read_weights(path: Path, what: str) -> Any:
    """Returns the content of a file written by `torch.save`, on the CPU: tensors and plain values.

    Args:
        path: file path.
        what: expected content, for messages.

    Raises:
        WeightsError: the file is missing, not a regular file, damaged (a checksum of the zip archive is wrong), or
            contains other objects.
    """
    check_archive(path, what)
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # for a damaged file, the parser may raise any type
        if isinstance(error, pickle.UnpicklingError) and zipfile.is_zipfile(path):  # undamaged: the checksums are right
            raise WeightsError(
                f"{path}: contains objects of another program, which are not loaded; expected a file with {what}"
            ) from error
        raise _damaged(path, what, error) from error


def check_archive(path: Path, what: str) -> None:
    """Checks that a file exists and, for a zip archive, the checksums of its members.

    Raises:
        WeightsError: the file is missing or not a regular file, or a checksum is wrong.
    """
    if not path.is_file():
        found = "not a regular file" if path.exists() else "no such file"
        raise WeightsError(f"{path}: {found}; expected a file with {what}")
    if not zipfile.is_zipfile(path):
        return
    try:
        with zipfile.ZipFile(path) as archive:
            member = archive.testzip()
    except Exception as error:  # zipfile raises many kinds
        raise _damaged(path, what, error) from error
    if member is not None:
        raise _damaged(path, what, f"wrong checksum of {member}")


def _damaged(path: Path, what: str, error: object) -> WeightsError:
    reason = shorten(str(error).split(". ")[0]) or type(error).__name__  # PyTorch's first sentence has the reason
    return WeightsError(
        f"{path}: damaged, or not a file with {what} ({reason}); delete it and download or create it again"
    )
