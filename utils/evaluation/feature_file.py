"""Cache file of a dataset's features, with the state of each image file."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.errors import UserError
from models.files import check_regular
from models.preprocess import CROP_NAMES
from models.regressor import EMBEDDING_DIM

CROPS = len(CROP_NAMES)
ROW = CROPS * EMBEDDING_DIM * 4  # bytes of an image's features
STATE = np.dtype([("size", "<i8"), ("mtime", "<i8"), ("truncated", "?")])  # of an image file; size -1: no features


class FeatureFile:
    """File with a row of features per image, and an .npy file with the state of each image file.

    The state of an image is written after its features are on disk, so rows that a kill or a power failure interrupted
    are detected. Size and modification time identify the content: if an image changes, only its features are missing.

    Args:
        path: path of the features.
        images: image files; image i has row i.
    """

    def __init__(self, path: Path, images: Sequence[Path]) -> None:
        self.path, self.states_path = path, path.with_suffix(".npy")
        self.states = np.array([_state(image) for image in images], STATE)

    def missing(self) -> list[int]:
        """Returns the sorted indices of the images without features."""
        kept = self._kept
        same = (kept["size"] == self.states["size"]) & (kept["mtime"] == self.states["mtime"]) & (kept["size"] >= 0)
        return np.flatnonzero(~same).tolist()

    def truncated(self) -> list[int]:
        """Returns the sorted indices of the images with features of a truncated file."""
        missing = set(self.missing())
        return [row for row in np.flatnonzero(self._kept["truncated"]).tolist() if row not in missing]

    def write(self, rows: Sequence[int], features: NDArray[np.float32], truncated: Sequence[int]) -> None:
        """Writes the features (n, 5, 4096) of the n images `rows`; `truncated` lists the truncated ones among them.

        Raises:
            UserError: the files cannot be written (disk full); only the features of these images are then missing.
        """
        states = self.states[rows]
        states["truncated"] = np.isin(rows, truncated)
        with self._writing():
            self._kept["size"][rows] = -1  # a kill must not leave a state that belonged to other features
            self._kept.flush()
            with self.path.open("r+b") as file:
                for row, values in zip(rows, features, strict=True):
                    file.seek(row * ROW)
                    file.write(
                        values.astype("<f4").tobytes()
                    )  # on a full disk, writing to a memory map would kill the process
                file.flush()
                os.fsync(file.fileno())
            self._kept[rows] = states
            self._kept.flush()

    def read(self) -> NDArray[np.float32]:
        """Returns all features (N, 5, 4096), memory-mapped."""
        return np.memmap(self.path, "<f4", mode="r", shape=(len(self.states), CROPS, EMBEDDING_DIM))

    def remove(self) -> None:
        """Removes both files, the states first: features without states are ignored after a kill."""
        self.states_path.unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)

    @cached_property
    def _kept(self) -> np.memmap:
        """The memory-mapped states on disk. Creates both files unless they exist with the right size and dtype."""
        check_regular(self.path)
        check_regular(self.states_path)
        with self._writing():
            size = len(self.states) * ROW
            if not self.path.exists() or self.path.stat().st_size != size:
                self.states_path.unlink(missing_ok=True)
                with self.path.open("ab") as file:
                    file.truncate(size)
            try:
                kept = np.lib.format.open_memmap(self.states_path, "r+")
                if kept.dtype == STATE and kept.shape == self.states.shape:
                    return kept
            except Exception:  # missing, or damaged in any way
                pass
            np.save(self.states_path, np.full(self.states.shape, np.array((-1, 0, False), STATE)))
            return np.lib.format.open_memmap(self.states_path, "r+")

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise UserError(
                f"{self.path}: cannot be written ({error}); the other images keep their features"
            ) from error


def _state(image: Path) -> tuple[int, int, bool]:
    """Returns the size and modification time of a file, and False (not truncated); size -1 if the file is missing."""
    try:
        status = image.stat()
    except OSError:
        return -1, 0, False
    return status.st_size, status.st_mtime_ns, False
