"""Features of a dataset's images on disk, and which images they are of."""

import os
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.errors import UserError
from utils.runtime.files import GrowingFile

CROPS = 5
EMBEDDING_DIM = 4096  # as in models/weights.py: 2048 features of the full-scale crop, then 2048 of the half-scale crop
ROW = CROPS * EMBEDDING_DIM * 4  # bytes of an image's features


class FeatureFile:
    """A file with a row of features for each image, and beside it a record of the images that have theirs.

    The record is a text file with a line `row size mtime truncated` for each image. It is written once the features are
    on disk, so what a killed process or a power cut left is told from what is whole. Size and modification time stand
    for the content: the features of an image that has changed since are missing, those of the others are kept.

    Args:
        path: of the file.
        images: their files; image i has row i.
    """

    def __init__(self, path: Path, images: Sequence[Path]) -> None:
        self.path, self.images = path, images
        self._states = [_state(image) for image in images]

    def missing(self) -> list[int]:
        """The images without features, in order."""
        kept = self._kept()
        return [row for row in range(len(self.images)) if row not in kept]

    def truncated(self) -> list[int]:
        """The images whose features are of a truncated file, in order."""
        return sorted(row for row, truncated in self._kept().items() if truncated)

    def open_record(self) -> AbstractContextManager[GrowingFile]:
        """The record, for `write`. One process at a time has it open.

        Raises:
            UserError: it cannot be opened, or another process has it open.
        """
        if not self._has_right_size():
            self._record.unlink(missing_ok=True)
        return GrowingFile(self._record)

    def write(
        self, record: GrowingFile, rows: Sequence[int], features: NDArray[np.float32], truncated: Sequence[int]
    ) -> None:
        """Keeps the features (n, 5, 4096) of n images; `truncated` are those of the images that are truncated.

        Raises:
            UserError: they cannot be written (disk full); what the files held before is kept.
        """
        try:
            self.path.touch()
            with self.path.open("r+b") as file:
                if not self._has_right_size():
                    file.truncate(len(self.images) * ROW)
                for row, values in zip(rows, features, strict=True):
                    file.seek(row * ROW)
                    file.write(values.astype("<f4").tobytes())
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise UserError(f"{self.path}: cannot be written ({error}); it keeps what it held before") from error
        # A line begins with its line break, so that it is whole whatever a power cut left before it.
        record.append("".join(f"\n{row} {self._states[row]} {int(row in truncated)}" for row in rows).encode())

    def read(self) -> NDArray[np.float32]:
        """All features (N, 5, 4096), memory-mapped.

        Raises:
            UserError: the file cannot be read.
        """
        try:
            return np.memmap(self.path, "<f4", mode="r", shape=(len(self.images), CROPS, EMBEDDING_DIM))
        except (OSError, ValueError) as error:
            raise UserError(f"{self.path}: not readable ({error}); remove it to extract anew") from error

    def remove(self) -> None:
        """Removes the file and its record, the record first: what is left of a kill is then no features."""
        self._record.unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)

    @property
    def _record(self) -> Path:
        return self.path.with_suffix(".images")

    def _kept(self) -> dict[int, bool]:
        """Whether the file was truncated, for each image whose features are kept and which has not changed."""
        try:
            lines = self._record.read_text(encoding="ascii", errors="replace").splitlines()
        except OSError:
            return {}
        if not self._has_right_size():
            return {}
        last = {fields[0]: fields[1:] for fields in map(str.split, lines) if len(fields) == 4}
        states = ((row, state, last.get(str(row))) for row, state in enumerate(self._states))
        return {row: found[2] == "1" for row, state, found in states if found and " ".join(found[:2]) == state}

    def _has_right_size(self) -> bool:
        try:
            return self.path.stat().st_size == len(self.images) * ROW
        except OSError:
            return False


def _state(image: Path) -> str:
    """Size and modification time of a file; empty if it is missing, which is the state of no image with features."""
    try:
        about = image.stat()
    except OSError:
        return ""
    return f"{about.st_size} {about.st_mtime_ns}"
