"""Features of a dataset's images on disk, and which images they belong to."""

import io
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.errors import UserError
from models.files import check_regular, write_bytes
from models.preprocess import CROP_NAMES
from models.regressor import EMBEDDING_DIM

CROPS = len(CROP_NAMES)
ROW = CROPS * EMBEDDING_DIM * 4  # bytes of an image's features
STATE = np.dtype([("size", "<i8"), ("mtime", "<i8"), ("truncated", "?")])  # of an image file; size -1: no features


class FeatureFile:
    """A file with a row of features for each image, and an .npy file with the state of each image at that time.

    A state is written once the features are on disk, so rows that a killed process or a power failure left unfinished
    are known. Size and modification time stand for the content: if an image has changed, only its features are missing.

    Args:
        path: path of the features.
        images: the image files; image i has row i.

    Raises:
        UserError: one of the two files is a pipe or a folder.
    """

    def __init__(self, path: Path, images: Sequence[Path]) -> None:
        self.path, self.states_path = path, path.with_suffix(".npy")
        self.states = np.array([_state(image) for image in images], STATE)
        check_regular(self.path)
        check_regular(self.states_path)

    def missing(self) -> list[int]:
        """The images without features, in order."""
        kept = self._saved_states()
        same = (kept["size"] == self.states["size"]) & (kept["mtime"] == self.states["mtime"]) & (kept["size"] >= 0)
        return np.flatnonzero(~same).tolist()

    def truncated(self) -> list[int]:
        """The images with features of a truncated file, in order."""
        truncated = self._saved_states()["truncated"]
        truncated[self.missing()] = False
        return np.flatnonzero(truncated).tolist()

    def write(self, rows: Sequence[int], features: NDArray[np.float32], truncated: Sequence[int]) -> None:
        """Writes the features (n, 5, 4096) of n images; `truncated` are those of the images that are truncated.

        Raises:
            UserError: the files cannot be written (disk full); only these images are missing then.
        """
        states = self.states[rows]
        states["truncated"] = np.isin(rows, truncated)
        try:
            self._create()
            saved = np.lib.format.open_memmap(self.states_path, "r+")
            saved["size"][rows] = -1  # a kill must not leave a state that belonged to other features
            saved.flush()
            with self.path.open("r+b") as file:
                for row, values in zip(rows, features, strict=True):
                    file.seek(row * ROW)
                    file.write(values.astype("<f4").tobytes())  # a full disk would kill a process that writes to a map
                file.flush()
                os.fsync(file.fileno())
            saved[rows] = states
            saved.flush()
        except OSError as error:
            raise UserError(
                f"{self.path}: cannot be written ({error}); the other images keep their features"
            ) from error

    def read(self) -> NDArray[np.float32]:
        """All features (N, 5, 4096), memory-mapped.

        Raises:
            UserError: the file cannot be read.
        """
        try:
            return np.memmap(self.path, "<f4", mode="r", shape=(len(self.states), CROPS, EMBEDDING_DIM))
        except (OSError, ValueError) as error:
            raise UserError(f"{self.path}: not readable ({error}); remove it to extract the features again") from error

    def remove(self) -> None:
        """Removes both files, the states first: after a kill, features without states do not count."""
        self.states_path.unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)

    def _create(self) -> None:
        """Creates the files, unless both have their size and form."""
        if not self._has_right_size():
            self.states_path.unlink(missing_ok=True)
            self.path.touch()
            os.truncate(self.path, len(self.states) * ROW)
        if self._load() is None:
            content = io.BytesIO()
            np.save(content, self._saved_states())
            write_bytes(self.states_path, content.getvalue())

    def _saved_states(self) -> NDArray[np.void]:
        saved = self._load() if self._has_right_size() else None
        return np.full(len(self.states), np.array((-1, 0, False), STATE)) if saved is None else saved

    def _load(self) -> NDArray[np.void] | None:
        try:
            states = np.load(self.states_path)
            return states if states.dtype == STATE and states.shape == self.states.shape else None
        except Exception:  # missing or damaged in any way
            return None

    def _has_right_size(self) -> bool:
        return self.path.exists() and self.path.stat().st_size == len(self.states) * ROW


def _state(image: Path) -> tuple[int, int, bool]:
    """Size and modification time of a file; size -1 if the file is missing."""
    try:
        status = image.stat()
    except OSError:
        return -1, 0, False
    return status.st_size, status.st_mtime_ns, False
