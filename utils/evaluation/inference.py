"""Scores image files with a quality model, in batches of images of any size."""

import glob
import math
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate

from models.errors import UserError
from models.image_file import check_header, find_images
from models.preprocess import read_crops
from utils.runtime.workers import batches, ignore_signals, worker_count

if TYPE_CHECKING:  # data-loading workers do not need the model
    from models.arniqa import ARNIQA


@dataclass(frozen=True)
class Score:
    """Score of an image file, or the error message.

    `percentile` is the percentage of the regressor's dataset with a lower score; None if it is not known.
    """

    path: Path
    value: float | None = None
    error: str = ""
    percentile: float | None = None


def find_files(pattern: str) -> list[Path]:
    """Returns the file itself, the images in a folder and its subfolders, or the files that match a glob; sorted.

    Raises:
        UserError: no file was found.
    """
    pattern = os.path.expanduser(pattern)  # noqa: PTH111 - a glob is not a path
    path = Path(pattern)
    paths = [path]
    if path.is_dir():
        paths, skipped = find_images(path)
        if skipped:
            print(skipped, file=sys.stderr)
    elif not path.is_file():
        matches = glob.glob(pattern, recursive=True)  # noqa: PTH207 - Path.glob takes no absolute pattern
        paths = sorted(Path(name) for name in matches if Path(name).is_file())
    if not paths:
        raise UserError(f"{pattern}: no image found; give an image file, a folder of images or a glob in quotes")
    return paths


class ImageFiles(Dataset):
    """Dataset of (path, two-scale crops) pairs, with an error message instead of the crops of an unreadable file.

    Args:
        paths: image files.
        crop_size, shorter_side: see `read_crops`.
        reference_size: width and height of the reference image, for a full-reference model.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        crop_size: int,
        shorter_side: int | None,
        reference_size: tuple[int, int] | None = None,
    ) -> None:
        self.paths, self.crop_size, self.shorter_side = paths, crop_size, shorter_side
        self.reference_size = reference_size

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[Path, Tensor | str]:
        path = self.paths[index]
        try:
            if self.reference_size is not None and (size := check_header(path)) != self.reference_size:
                text = "{}: {} x {} pixels; the reference has {} x {}"
                raise UserError(text.format(path, *size, *self.reference_size))
            return path, read_crops(path, self.crop_size, self.shorter_side)
        except UserError as error:
            return path, str(error)


def collate_crops(items: list[tuple[Path, Tensor | str]]) -> tuple[list[tuple[Path, str]], Tensor | None]:
    """Collates items: paths with errors ("" without one), and crops of readable files, N x 2 x 5 x 3 x c x c."""
    crops = [content for _, content in items if isinstance(content, Tensor)]
    rows = [(path, "" if isinstance(content, Tensor) else content) for path, content in items]
    return rows, default_collate(crops) if crops else None


@torch.inference_mode()
def score_images(
    model: "ARNIQA", paths: Sequence[Path], batch_size: int = 4, num_workers: int = 0, reference: Path | None = None
) -> Iterator[Score]:
    """Scores image files in order, and yields each score as soon as it is computed, or an error for an unreadable file.

    The scores equal those of `model.score` for each file.

    Args:
        model: quality model; its `crop_size` and `shorter_side` are used.
        paths: image files.
        batch_size: images per batch.
        num_workers: processes that read images; 0 reads in the main process.
        reference: reference image of all files, for a full-reference model. A file of another size gets an error.

    Raises:
        ImageError: the reference cannot be read.
    """
    embeddings, reference_size = None, None
    if reference is not None:
        reference_size = check_header(reference)
        full, half = read_crops(reference, model.crop_size, model.shorter_side)
        embeddings = model.embed_crops(full, half)
    files = DataLoader(
        ImageFiles(paths, model.crop_size, model.shorter_side, reference_size),
        batch_size,
        num_workers=worker_count(num_workers),
        collate_fn=collate_crops,
        worker_init_fn=ignore_signals,
    )
    for rows, crops in batches(files):
        scores = iter([] if crops is None else model.score_crops(crops[:, 0], crops[:, 1], embeddings).tolist())
        for path, error in rows:
            score = math.nan if error else next(scores)
            if not error and not math.isfinite(score):
                error = f"{path}: the score is not finite; use --precision float32, or undamaged weights"
            yield Score(path, error=error) if error else Score(path, score, percentile=model.percentile(score))
