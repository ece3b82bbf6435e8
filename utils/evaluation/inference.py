"""Scores image files with a quality model, in batches of images of any size, on one or several ranks."""

import codecs
import glob
import math
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate

from models.errors import ImageError, UserError
from models.image_file import find_images, open_image
from models.preprocess import Preprocessing, check_size, two_scale_crops
from utils.runtime.distributed import broadcast_from_rank0, gather_objects, rank, world_size
from utils.runtime.workers import batches, ignore_signals, worker_count

if TYPE_CHECKING:  # data-loading workers do not need the model
    from models.multi_regressor import MultiRegressorARNIQA

LONGEST_LINE = 32_768  # bytes in a list of files; no system has longer paths
Views = list[tuple[Tensor, Tensor]]  # for each preprocessing: crops at full scale, crops at half scale


@dataclass(frozen=True)
class Score:
    """Scores of an image file, one for each regressor, or the error message and no scores.

    A percentile is the percentage of the regressor's dataset with a lower score; None if it is not known.
    """

    path: Path
    values: tuple[float, ...] = ()
    percentiles: tuple[float | None, ...] = ()
    error: str = ""

    @property
    def agreement(self) -> tuple[float, float, float] | None:
        """Mean, lowest and highest of the known percentiles; None if none is known."""
        known = [percentile for percentile in self.percentiles if percentile is not None]
        return (sum(known) / len(known), min(known), max(known)) if known else None


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


def open_list(path: Path) -> Iterator[Path]:
    """Opens a text file with one image file a line, or standard input for "-", and returns the files as a stream.

    Raises:
        UserError: the list cannot be read, is not a text file or has no line.
    """
    stdin = str(path) == "-"
    try:
        return _listed(path, open(0 if stdin else path, "rb", closefd=not stdin))
    except OSError as error:
        raise UserError(f"--img_list: {path} cannot be read ({error.strerror})") from error


def _listed(path: Path, lines: BinaryIO) -> Iterator[Path]:
    empty = True
    with lines:
        for line in lines:
            if b"\0" in line or len(line) > LONGEST_LINE:
                raise UserError(f"--img_list: {path} is not a text file with one image file a line")
            name = line.removeprefix(codecs.BOM_UTF8).rstrip(b"\r\n").decode("utf-8", "surrogateescape")
            if name:
                empty = False
                yield Path(name)
    if empty:
        raise UserError(f"--img_list: {path} is empty; it must have one image file a line")


class ImageFiles(Dataset):
    """Dataset that maps a path to (path, `Views` of the image), or to (path, error message) for an unreadable file.

    Args:
        preprocessings: the preprocessings in use; the file is read once for all of them.
        reference_size: width and height of the reference image, for a full-reference model.
    """

    def __init__(self, preprocessings: Sequence[Preprocessing], reference_size: tuple[int, int] | None = None) -> None:
        self.preprocessings, self.reference_size = preprocessings, reference_size

    def __getitem__(self, path: Path) -> tuple[Path, Views | str]:
        try:
            return path, self.views(path)[0]
        except UserError as error:
            return path, str(error)

    def views(self, path: Path) -> tuple[Views, tuple[int, int]]:
        """Returns the views of an image, and its width and height.

        Raises:
            ImageError: the file cannot be read, or the image is too small or has another size than the reference.
        """
        image = open_image(path)
        check_size(path, image)
        if self.reference_size is not None and image.size != self.reference_size:
            text = "{}: {} x {} pixels; the reference has {} x {}"
            raise ImageError(text.format(path, *image.size, *self.reference_size))
        return [two_scale_crops(image, *each) for each in self.preprocessings], image.size


def collate_views(items: list[tuple[Path, Views | str]]) -> tuple[list[tuple[Path, str]], Views]:
    """Collates items: paths with errors ("" without one), and the views of readable files, with N x k crops each."""
    rows = [(path, content if isinstance(content, str) else "") for path, content in items]
    readable = [content for _, content in items if not isinstance(content, str)]
    return rows, default_collate(readable) if readable else []


@torch.inference_mode()
def score_images(
    model: "MultiRegressorARNIQA",
    images: Iterable[Path],
    batch_size: int = 4,
    num_workers: int = 0,
    reference: Path | None = None,
    crops: str = "five",
) -> Iterator[list[Score]]:
    """Scores image files, and yields the scores of a batch in their order, with an error for an unreadable file.

    The scores equal those of `model.score` for each file. With several ranks, each scores its part of every batch, and
    all ranks get all scores.

    Args:
        model: quality model; the `crop_size` and `shorter_side` of its regressors are used.
        images: image files, read as a stream; used on rank 0 only.
        batch_size: images per batch and rank. Whole images differ in size, so each is a batch.
        num_workers: processes per rank that read images; 0 reads in the main process.
        reference: reference image of all files, for a full-reference model. A file of another size gets an error.
        crops: "five" or "whole", see `ARNIQA.score`.

    Raises:
        ImageError: the reference cannot be read.
    """
    preprocessings = list(model.preprocessings(crops))
    references, reference_size = None, None
    if reference is not None:
        views, reference_size = ImageFiles(preprocessings).views(reference)
        references = [model.models[0].embed_crops(full[None], half[None]) for full, half in views]
    workers = min(gather_objects(worker_count(num_workers)))  # all ranks must take their parts in the same order
    parts = _parts(images, 1 if crops == "whole" else batch_size)
    # Ctrl-C is blocked while workers start, and a pipe may wait: the first batches are read before.
    ahead = list(islice(parts, 2 * workers))
    files = DataLoader(
        ImageFiles(preprocessings, reference_size),
        batch_sampler=chain(ahead, parts),  # type: ignore[arg-type]
        num_workers=workers,
        collate_fn=collate_views,
        worker_init_fn=ignore_signals,
    )
    for rows, views in batches(files):
        scored = _score_batch(model, rows, views, crops, references)
        yield [score for part in gather_objects(scored) for score in part]


def _parts(images: Iterable[Path], size: int) -> Iterator[list[Path]]:
    """Yields this rank's part of each batch, of at most `size` images. The other ranks get theirs from rank 0."""
    rest = iter(images)
    while batch := broadcast_from_rank0(list(islice(rest, size * world_size()))):
        yield batch[size * rank() : size * (rank() + 1)]


def _score_batch(
    model: "MultiRegressorARNIQA",
    rows: list[tuple[Path, str]],
    views: Views,
    crops: str,
    references: Sequence[Tensor] | None,
) -> list[Score]:
    """Returns the scores of a collated batch."""
    if not views:
        return [Score(path, error=error) for path, error in rows]
    values = model.score_crops(views, crops, references).cpu()
    scores = iter(zip(values.tolist(), model.percentile(values).tolist(), values.isfinite().all(1).tolist()))  # noqa: B905
    found = []
    for path, error in rows:
        if not error:
            numbers, percentiles, finite = next(scores)
            if finite:
                known = tuple(None if math.isnan(each) else each for each in percentiles)
                found.append(Score(path, tuple(numbers), known))
                continue
            error = f"{path}: the score is not finite; use --precision float32, or undamaged weights"
        found.append(Score(path, error=error))
    return found
