"""Base class of the image-quality datasets: images, scores, splits and crops."""

import copy
import hashlib
import os
import posixpath
import sys
import unicodedata
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch.utils.data import Dataset

from data.published_splits import ORDER_UNKNOWN, known
from data.split_files import (
    SHIPPED,
    Splits,
    check_record,
    has_splits,
    load_splits,
    make_splits,
    save_splits,
    splits_hash,
)
from models.errors import UserError
from models.image_file import open_image
from models.preprocess import five_crops, half_scale_bicubic, resize_shorter_side_bicubic, to_pixels
from utils.runtime.files import locked

PSEUDO_SCORES = "PSEUDO_SCORES.txt"  # beside the folders of datasets whose scores no human gave


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

    names: Sequence[str]
    folder: str
    scores: Sequence[float] | NDArray[np.float64]
    references: Sequence[str] | None = None
    types: Sequence[str] | None = None
    levels: Sequence[int] | None = None
    reference_files: Sequence[str] | None = None


class IQADataset(Dataset):
    """Images with quality scores. Each subclass reads the annotation of one dataset and defines its scores' meaning.

    Class attributes:
        name: name of the dataset in configurations.
        folder: folder of the dataset under `data_base_path`.
        source: where to get the dataset.
        mos_range: nominal (lowest, highest) score; only used to rescale scores.
        mos_type: "mos" (higher is better) or "dmos" (lower is better).
        synthetic: whether the images are distorted versions of reference images.
        groups: maps each distortion type to its group; a type without a group is an error.
        own_shorter_side: the shorter side in pixels to which the published code resizes this dataset's images, if any.
        score_kind: whose scores they are: human, pseudo (computed by a measure) or unstated; pseudo in a folder beside
            the file PSEUDO_SCORES.txt.
        official_split: whether `first_splits` reads a split that the dataset's authors made.

    Attributes:
        names: names of the N images as annotated, with forward slashes.
        images: paths of the N images, in the order of the annotation. Names are matched case-insensitively.
        mos: scores, float64, shape (N,).
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
    synthetic: bool = False
    groups: dict[str, str] = {}
    own_shorter_side: int | None = None
    score_kind: str = "human"
    official_split: bool = False

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
        self.ref_images = None if annotation.references is None else list(annotation.references)
        self._reference_files = annotation.reference_files
        if (self.root.parent / PSEUDO_SCORES).exists():
            self.score_kind = "pseudo"
        self.distortion_types = None if annotation.types is None else list(annotation.types)
        self.distortion_levels = None if annotation.levels is None else list(annotation.levels)
        self.distortion_groups = None
        if self.distortion_types is not None:
            self.distortion_groups = self._groups_of(self.distortion_types)
        self._splits = self._find_splits() if with_splits else None

    def read_annotation(self) -> Annotation:
        """Reads the annotation file in `root`."""
        raise NotImplementedError

    def first_splits(self) -> Splits:
        """Creates the splits of a dataset that has none yet."""
        return make_splits(len(self.names), self.ref_images)

    def references(self) -> tuple["IQADataset", NDArray[np.int64]]:
        """The reference images, each once, cropped as the images are; and the row there of each image's own, (N,).

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
        """Which splits these are, by what is in them.

        "published" (by the authors of ARNIQA), "shipped" (with this project), "official" (in the dataset's own files)
        or "own" (any others).
        """
        own = self.root / "splits"
        kind = known(self.name, own if has_splits(own) else SHIPPED / self.name)
        if kind is None and self.official_split:
            with suppress(UserError):  # the files are not needed where there are splits
                kind = "official" if splits_hash(self.first_splits()) == self.splits_hash else None
        return kind or "own"

    def order_note(self) -> list[str]:
        """A line for results on published splits whose row numbers may not be those of the annotation."""
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

    def _groups_of(self, types: Sequence[str]) -> list[str]:
        for name, kind in zip(self.names, types, strict=True):
            if kind not in self.groups:
                allowed = ", ".join(self.groups)
                raise UserError(f"{self.root}: {name} has the type {kind}, which has no group; allowed: {allowed}")
        return [self.groups[kind] for kind in types]

    @property
    def _read_splits(self) -> Splits:
        if self._splits is None:
            raise ValueError(f"{self.name} was opened without splits; use with_splits=True")
        return self._splits

    def _find_splits(self) -> Splits:
        """Splits in the dataset's folder (custom or published) if any, else the shipped ones, else new ones."""
        own = self.root / "splits"
        for folder in (own, SHIPPED / self.name):
            if has_splits(folder):
                splits = load_splits(folder, self.names, self.ref_images)
                if known(self.name, folder) == "published" and self.name not in ORDER_UNKNOWN:
                    # They have no record, but are for the rows that ours are for.
                    check_record(SHIPPED / self.name, self.names, f"{folder}: the published splits")
                return splits
        try:
            splits = self.first_splits()
        except UserError as error:
            raise UserError(f"{self.root}: {error}") from error
        try:
            with locked(own, f"{self.name}: waiting for another process that creates the splits"):
                if not has_splits(own):
                    save_splits(own, splits, self.names)
                    print(f"{self.name}: created new splits in {own}", file=sys.stderr)
        except UserError as error:  # not fatal: the same splits can be created again from the annotation
            print(f"{self.name}: created new splits but could not save them ({error})", file=sys.stderr)
        return splits


def find_file(folder: Path, name: str) -> Path:
    """Path of the file `name` in `folder`, matched by `same_name`; `folder / name` if there is no such file."""
    path = folder
    for part in Path(name).parts:
        listing = _listing(path)
        path = path / listing.get(part, listing.get(same_name(part), part))
    return path


def same_name(name: str) -> str:
    """Equal for names that differ in case or in the form of their accents (NFC, or NFD as on macOS)."""
    return unicodedata.normalize("NFC", name).casefold()


@cache
def _listing(folder: Path) -> dict[str, str]:
    """Maps each name in `folder`, and its form by `same_name`, to that name. Cached: a folder is listed only once."""
    try:
        names = sorted(os.listdir(folder))  # noqa: PTH208 - names only
    except OSError:
        return {}
    return {same_name(name): name for name in names} | {name: name for name in names}
