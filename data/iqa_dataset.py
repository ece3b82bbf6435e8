"""Base class of the image-quality datasets: images, scores, splits and crops."""

import copy
import hashlib
import os
import posixpath
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch.utils.data import Dataset

from data.split_files import ORDER_UNKNOWN, Splits, find_splits, kind_of, make_splits, official_split, splits_hash
from data.tables import Rows, Table, csv_rows
from models.errors import UserError
from models.files import parsing
from models.image_file import open_image
from models.preprocess import five_crops, half_scale_bicubic, resize_shorter_side_bicubic, to_pixels


@dataclass
class Annotation:
    """Contents of an annotation file, one entry per image.

    Attributes:
        names: image names as written in the file.
        folder: folder of the images, relative to the dataset's root.
        scores: quality scores.
        references, types, levels: reference image, distortion type and distortion level; None if not annotated.
        reference_files: file of each image's reference, relative to the dataset's root; None if it has no such files.
    """

    names: list[str]
    folder: str
    scores: list[float]
    references: list[str] | None = None
    types: list[str] | None = None
    levels: list[int] | None = None
    reference_files: list[str] | None = None


class IQADataset(Dataset):
    """Images with quality scores. Each subclass reads the annotation of one dataset and defines its scores' meaning.

    Class attributes:
        name: name of the dataset in configurations.
        folder: folder of the dataset under `data_base_path`.
        source: where to get the dataset.
        mos_range: nominal (lowest, highest) score; only used to rescale scores.
        mos_type: "mos" (higher is better) or "dmos" (lower is better).
        groups: maps each distortion type to its group; a type without a group is an error.
        own_shorter_side: the shorter side in pixels to which the published code resizes this dataset's images, if any.
        score_kind: what the scores are, one of `models.regressor.SCORE_KINDS`.

    Attributes:
        names: names of the N images as annotated, with forward slashes.
        images: paths of the N images, in the order of the annotation. Names are matched case-insensitively.
        mos: scores, float64, shape (N,).
        synthetic: whether the images are distorted versions of reference images.
        ref_images, distortion_types, distortion_groups, distortion_levels: one entry per image, or None if unknown.

    Args:
        root: folder of the dataset.
        crop_size: side of the crops in pixels.
        shorter_side: in pixels, to which images are resized before they are cropped; None leaves them as they are. A
            dataset with `own_shorter_side` keeps that.
        with_splits: read the splits, or create them on first use. Use False if no splits are needed.

    Raises:
        UserError: a folder, file, column or score is missing or invalid, or the splits do not match the annotation.
    """

    name: str
    folder: str
    source: str
    mos_range: tuple[float, float]
    mos_type: str = "mos"
    groups: dict[str, str] = {}
    own_shorter_side: int | None = None
    score_kind: str = "human"

    def __init__(
        self, root: str | Path, crop_size: int = 224, shorter_side: int | None = None, with_splits: bool = True
    ) -> None:
        self.root = Path(root)
        self.crop_size = crop_size
        self.shorter_side = self.own_shorter_side or shorter_side
        if not self.root.is_dir():
            raise UserError(f"{self.root}: no such folder; it must contain {self.name} (source: {self.source})")
        annotation = self.read_annotation()
        self.names = [name.replace("\\", "/") for name in annotation.names]
        self.mos = np.asarray(annotation.scores, np.float64)
        if not self.names:
            raise UserError(f"{self.root}: the annotation of {self.name} has no rows")
        if not np.isfinite(self.mos).all():
            raise UserError(f"{self.root}: {self.names[int(np.argmin(np.isfinite(self.mos)))]} has no valid score")
        files = [same_name(posixpath.normpath(name)) for name in self.names]
        file, times = Counter(files).most_common(1)[0]
        if times > 1:  # it could be in training and test
            raise UserError(
                f"{self.root}: the annotation lists {self.names[files.index(file)]} {times} times; allowed: once"
            )
        self.images = [find_file(self.root / annotation.folder, name) for name in self.names]
        self.ref_images, self._reference_files = annotation.references, annotation.reference_files
        self.synthetic = self.ref_images is not None
        for name, kind in zip(self.names, annotation.types or [], strict=annotation.types is not None):
            if kind not in self.groups:
                allowed = ", ".join(self.groups)
                raise UserError(f"{self.root}: {name} has the type {kind}, which has no group; allowed: {allowed}")
        self.distortion_types, self.distortion_levels = annotation.types, annotation.levels
        self.distortion_groups = annotation.types and [self.groups[kind] for kind in annotation.types]
        self._splits = None
        if with_splits:
            self._splits = find_splits(self.name, self.root, self.names, self.ref_images, self.first_splits)

    def read_annotation(self) -> Annotation:
        """Reads the annotation file in `root`."""
        raise NotImplementedError

    def official_phases(self) -> Sequence[str] | None:
        """Returns the phase of each image in the official split; None if the dataset has none."""
        return None

    def table(
        self, file: str, columns: Sequence[str], optional: Sequence[str] = (), rows: Callable[[Path], Rows] = csv_rows
    ) -> Table:
        """Reads an annotation file in `root`.

        Args:
            file: its name, matched case-insensitively.
            columns: names of columns that must be there.
            optional: names of columns that may be there.
            rows: reads the rows of fields from a path; the first has the columns' names.

        Raises:
            UserError: the file is missing, or is not such a table.
        """
        path = find_file(self.root, file)
        with self.parsing(path, "a readable table"):
            content = rows(path)
        return Table(path, content, columns, optional)

    def parsing(self, path: Path, expected: str) -> AbstractContextManager[None]:
        """Context for parsing an annotation file; see `models.files.parsing`."""
        return parsing(path, expected, f"it is distributed with the dataset ({self.source})")

    def first_splits(self) -> Splits:
        """Creates the splits of a dataset without splits: the official one, or random ones."""
        phases, where = self.official_phases(), f"{self.root}: "
        if phases is None:
            return make_splits(len(self), self.ref_images, where=where)
        return official_split(phases, where)

    def references(self) -> tuple["IQADataset", NDArray[np.int64]]:
        """Returns a dataset of the reference images, each once, and for each image its reference's row there, (N,).

        They have no scores and no splits.

        Raises:
            UserError: the dataset has no files of reference images.
        """
        if self._reference_files is None:
            raise UserError(f"{self.name}: has no reference images; live, csiq, tid2013 and kadid10k have")
        paths = [find_file(self.root, name).relative_to(self.root).as_posix() for name in self._reference_files]
        names, of_image = np.unique(paths, return_inverse=True)
        references = copy.copy(self)
        references.name = f"{self.name}_references"
        references.names = names.tolist()
        references.images = [self.root / name for name in references.names]
        references.mos = np.zeros(len(names))
        references.ref_images = references.distortion_types = references.distortion_groups = None
        references.distortion_levels = references._reference_files = references._splits = None
        return references, of_image

    @property
    def annotation_hash(self) -> str:
        """Hash of the image names and scores, including their order."""
        text = "\n".join(
            f"{name.casefold()} {score!r}" for name, score in zip(self.names, self.mos.tolist(), strict=True)
        )
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @cached_property
    def splits_kind(self) -> str:
        """Kind of the splits, determined by their content.

        "published" (by the authors of ARNIQA), "shipped" (with this project), "official" (in the dataset's own files)
        or "own" (any others).
        """
        kind = kind_of(self.name, self.root)
        if kind == "own":
            with suppress(UserError):  # the files of an official split are not needed where there are splits
                phases = self.official_phases()
                if phases is not None and splits_hash(official_split(phases)) == self.splits_hash:
                    return "official"
        return kind

    def order_note(self) -> list[str]:
        """Returns a note for results on published splits whose row order is not known."""
        if self.splits_kind != "published" or self.name not in ORDER_UNKNOWN:
            return []
        return [
            "on the published splits, but the order of rows behind them is unknown, because the published code has no "
            "reader for this dataset; their images may be others"
        ]

    @property
    def splits_hash(self) -> str:
        """Hash of the row numbers in the splits: 16 hexadecimal digits."""
        return splits_hash(self._read_splits)

    @property
    def num_splits(self) -> int:
        return len(self._read_splits["train"])

    def get_split_indices(self, split: int, phase: str) -> NDArray[np.int64]:
        """Row numbers, without padding, of a phase: "train", "val" or "test" of the split, or "all" for every image."""
        if phase == "all":
            return np.arange(len(self))
        return self._read_splits[phase][split]

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Five crops at `full` and `half` scale, each 5 x 3 x crop_size x crop_size, uint8.

        `truncated` says whether the file is truncated; then the crops are of what is there.
        """
        truncated: list[str] = []
        image = self.open_image(index, truncated)
        scales = {
            name: five_crops(to_pixels(scale), self.crop_size)
            for name, scale in (("full", image), ("half", half_scale_bicubic(image)))
        }
        return {**scales, "index": index, "truncated": bool(truncated)}

    def open_image(self, index: int, truncated: list[str] | None = None) -> Image.Image:
        """Reads image `index` as RGB, at its `shorter_side`; `truncated` is as for `models.image_file.open_image`."""
        return resize_shorter_side_bicubic(open_image(self.images[index], truncated), self.shorter_side)

    @property
    def _read_splits(self) -> Splits:
        if self._splits is None:
            raise ValueError(f"{self.name} was opened without splits; use with_splits=True")
        return self._splits


def find_file(folder: Path, name: str) -> Path:
    """Finds the file `name` in `folder`, matched by `same_name`; returns `folder / name` if there is none."""
    path = folder
    for part in Path(name).parts:
        listing = _listing(path)
        path = path / listing.get(part, listing.get(same_name(part), part))
    return path


def same_name(name: str) -> str:
    """Normalises a name: case is ignored, accents are composed (NFC; macOS uses NFD)."""
    return unicodedata.normalize("NFC", name).casefold()


@cache
def _listing(folder: Path) -> dict[str, str]:
    """Maps each name in `folder`, and its form by `same_name`, to that name. Cached: a folder is listed only once."""
    try:
        names = sorted(os.listdir(folder))  # noqa: PTH208 - names only
    except OSError:
        return {}
    return {same_name(name): name for name in names} | {name: name for name in names}
