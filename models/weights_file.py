"""Reads files of tensors without running code that they contain, and notices damage."""

import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch

from .errors import WeightsError, shorten


def read_weights(path: Path, what: str) -> Any:
    """The content of a file written by `torch.save`, on the CPU: tensors and plain values.

    Args:
        path: of the file.
        what: expected content, for messages.

    Raises:
        WeightsError: the file is missing, not a regular file, damaged (a checksum of the zip archive is wrong), or
            holds something else.
    """
    check_archive(path, what)
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # of the parser of a damaged file, of any kind
        if isinstance(error, pickle.UnpicklingError) and zipfile.is_zipfile(path):  # whole, as the checksums say
            raise WeightsError(
                f"{path}: holds objects of another program, which are not loaded; expected a file with {what}"
            ) from error
        raise _damaged(path, what, error) from error


def check_archive(path: Path, what: str) -> None:
    """Checks that a file is there, and the checksums of a zip archive's members.

    Raises:
        WeightsError: it is missing, not a regular file, or a checksum is wrong.
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
    reason = shorten(str(error).split(". ")[0]) or type(error).__name__  # PyTorch's first sentence says it
    return WeightsError(
        f"{path}: damaged, or not a file with {what} ({reason}); delete it and download or create it again"
    )
