"""What the image-quality datasets have in common: images, scores, splits and crops."""

import hashlib
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from data.split_files import SHIPPED, Splits, has_splits, load_splits, make_splits, save_splits
from utils.errors import UserError
from utils.image import center_corners_crop, half_scale, normalize, open_image, to_tensor


@dataclass
class Annotation:
    """The rows of an annotation file.

    Attributes:
        names: of the images, as the file has them.
        folder: in which they lie, relative to the dataset's root.
        scores: one for each image.
        references, types, levels: reference image, distortion type and level of each image, where there are such.
    """

    names: Sequence[str]
    folder: str
    scores: Sequence[float] | NDArray[np.float64]
    references: Sequence[str] | None = None
    types: Sequence[str] | None = None
    levels: Sequence[int] | None = None


class IQADataset(Dataset):
    """Images with quality scores. A dataset's own class reads its annotation and says what the scores mean.

    Class attributes:
        name, folder: as configurations name it, and its folder under `data_base_path`.
        source: where to get it.
        mos_range: nominal (lowest, highest) score, for scaling only.
        mos_type: "mos" (higher is better) or "dmos" (lower is better).
        synthetic: whether images are distorted versions of references.
        groups: distortion type -> its group.

    Attributes:
        images: paths of the N images in the annotation's order, found without regard to case; names: as annotated.
        mos: their scores, float64 (N,).
        ref_images, distortion_types, distortion_groups, distortion_levels: of each image, None where unknown.

    Args:
        root: the dataset's own folder.
        crop_size: side of the crops in pixels.
        with_splits: read the splits, or make them on first use. False is for what needs none.

    Raises:
        UserError: a folder, file, column or score is missing or not as it should be, or the splits do not match.
    """

    name: str
    folder: str
    source: str
    mos_range: tuple[float, float]
    mos_type: str = "mos"
    synthetic: bool = False
    groups: dict[str, str] = {}

    def __init__(self, root: str | Path, crop_size: int = 224, with_splits: bool = True) -> None:
        self.root = Path(root)
        self.crop_size = crop_size
        if not self.root.is_dir():
            raise UserError(f"{self.root}: no such folder; it should hold {self.name} (from {self.source})")
        annotation = self.read_annotation()
        self.names = [name.replace("\\", "/") for name in annotation.names]
        self.mos = np.asarray(annotation.scores, np.float64)
        if not self.names:
            raise UserError(f"{self.root}: the annotation of {self.name} has no rows")
        if not np.isfinite(self.mos).all():
            raise UserError(f"{self.root}: {self.names[int(np.argmin(np.isfinite(self.mos)))]} has no score")
        self.images = [find_file(self.root / annotation.folder, name) for name in self.names]
        self.ref_images = None if annotation.references is None else list(annotation.references)
        self.distortion_types = None if annotation.types is None else list(annotation.types)
        self.distortion_levels = None if annotation.levels is None else list(annotation.levels)
        self.distortion_groups = None
        if self.distortion_types is not None:
            self.distortion_groups = [self.groups.get(kind, kind) for kind in self.distortion_types]
        self._splits = self._find_splits() if with_splits else None

    def read_annotation(self) -> Annotation:
        """Reads the annotation file in `root`."""
        raise NotImplementedError

    def first_splits(self) -> Splits:
        """The splits of a dataset for which there are none yet."""
        return make_splits(len(self.names), self.ref_images)

    @property
    def annotation_hash(self) -> str:
        """Changes with any image name, score or their order."""
        text = "\n".join(
            f"{name.casefold()} {score!r}" for name, score in zip(self.names, self.mos.tolist(), strict=True)
        )
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def num_splits(self) -> int:
        return len(self._read_splits["train"])

    def get_split_indices(self, split: int, phase: str) -> NDArray[np.int64]:
        """Row numbers of a phase ("train", "val", "test", or "all" images whatever the split), without padding."""
        if phase == "all":
            return np.arange(len(self))
        return self._read_splits[phase][split]

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """The five crops at full and at half scale: `full` and `half`, 5 x 3 x crop_size x crop_size, normalised."""
        image = self.open_image(index)
        return {"full": self._crops(image), "half": self._crops(half_scale(image)), "index": index}

    def open_image(self, index: int) -> Image.Image:
        """The distorted image as RGB."""
        return open_image(self.images[index])

    def _crops(self, image: Image.Image) -> Tensor:
        return torch.stack([normalize(to_tensor(crop)) for crop in center_corners_crop(image, self.crop_size)])

    @property
    def _read_splits(self) -> Splits:
        if self._splits is None:
            raise ValueError(f"{self.name} was opened without splits")
        return self._splits

    def _find_splits(self) -> Splits:
        """The user's own or the published ones in the dataset's folder, else the shipped ones, else made now."""
        own = self.root / "splits"
        for folder in (own, SHIPPED / self.name):
            if has_splits(folder):
                return load_splits(folder, self.names, self.ref_images)
        try:
            splits = self.first_splits()
        except UserError as error:
            raise UserError(f"{self.root}: {error}") from error
        try:
            save_splits(own, splits, self.names)
            print(f"{self.name}: splits made, kept in {own}", file=sys.stderr)
        except OSError as error:  # they are a function of the annotation, so that nothing is lost
            print(f"{self.name}: splits made, not kept ({error})", file=sys.stderr)
        return splits


def read_table(path: Path, columns: Sequence[str], source: str, **options: Any) -> pd.DataFrame:
    """A CSV or text table as strings and numbers, with at least these columns.

    Raises:
        UserError: the file is missing or no table, or lacks a column.
    """
    if not path.exists():
        raise UserError(f"{path}: not found; the annotation file is distributed with the dataset ({source})")
    try:
        table = pd.read_csv(path, skipinitialspace=True, **options)
    except (OSError, ValueError, pd.errors.ParserError) as error:
        raise UserError(f"{path}: not a readable table ({str(error).splitlines()[0]})") from error
    table.columns = [str(column).strip() for column in table.columns]
    missing = [column for column in columns if column not in table.columns]
    if missing:
        raise UserError(f"{path}: lacks the column {', '.join(missing)}; it has {', '.join(table.columns)}")
    if table.empty:
        raise UserError(f"{path}: has no rows")
    return table


def numbers(table: pd.DataFrame, column: str, path: Path) -> NDArray[np.float64]:
    """A column as numbers.

    Raises:
        UserError: a value is none; the message names its row.
    """
    values = pd.to_numeric(table[column], errors="coerce").to_numpy(np.float64)
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        raise UserError(f"{path}: {column} in row {bad[0] + 1} is {table[column].iloc[bad[0]]!r}, not a number")
    return values


def find_file(folder: Path, name: str) -> Path:
    """The file of that name below the folder, whatever the case of its letters; the name as it is if there is none."""
    path = folder
    for part in Path(name).parts:
        listing = _listing(path)
        path = path / listing.get(part, listing.get(part.casefold(), part))
    return path


@cache
def _listing(folder: Path) -> dict[str, str]:
    """Names in a folder, by themselves and by their case-folded form: one look a folder, not one a file."""
    try:
        names = sorted(os.listdir(folder))  # noqa: PTH208 - names only
    except OSError:
        return {}
    return {name.casefold(): name for name in names} | {name: name for name in names}
