"""Scores of image files by a quality model: five crops at two scales, batched over images of any size."""

import glob
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate

from utils.errors import UserError
from utils.image import IMAGE_SUFFIXES, check_header
from utils.runtime.workers import batches, leave_stopping_to_parent, worker_count

# Path of an image file -> its crops, 2 x 5 x 3 x c x c, uint8: full scale, then half scale. A ValueError of one line
# says why there are none. `models.preprocess.read_crops` is one; `utils` does not import `models`.
ReadCrops = Callable[[Path], Tensor]


class CropScorer(Protocol):
    """What is needed of `models.arniqa.ARNIQA`."""

    def score_crops(self, full: Tensor, half: Tensor, reference: Tensor | None = None) -> Tensor: ...
    def embed_crops(self, full: Tensor, half: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class Score:
    """The score of one image file, or the error that prevented it.

    `rank` is the share, in [0, 1], of the regressor's dataset that has a lower score; None if that is not known.
    """

    path: Path
    value: float | None = None
    error: str = ""
    rank: float | None = None


def find_images(pattern: str) -> list[Path]:
    """The file itself, the images in a folder and its subfolders, or the files that match a glob; sorted.

    Raises:
        UserError: there are none.
    """
    path = Path(pattern)
    if path.is_dir():
        found = [file for file in path.rglob("*") if file.suffix.lower() in IMAGE_SUFFIXES and file.is_file()]
    elif path.is_file():
        found = [path]
    else:
        matches = glob.glob(pattern, recursive=True)  # noqa: PTH207 - Path.glob takes no absolute pattern
        found = [Path(name) for name in matches if Path(name).is_file()]
    if not found:
        raise UserError(f"{pattern}: no image found; give an image file, a folder of images or a glob in quotes")
    return sorted(found)


class ImageFiles(Dataset):
    """Item i: the path of file i and its two-scale crops, or the reason why the file cannot be scored."""

    def __init__(self, paths: Sequence[Path], read_crops: ReadCrops, reference: "Reference | None" = None) -> None:
        self.paths = paths
        self.read_crops = read_crops
        self.path_and_size = None if reference is None else (reference.path, reference.size)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[Path, Tensor | str]:
        path = self.paths[index]
        try:
            if self.path_and_size is not None:
                _check_size(path, check_header(path), *self.path_and_size)
            return path, self.read_crops(path)
        except (UserError, ValueError) as error:
            return path, str(error)


@dataclass(frozen=True)
class Reference:
    """A reference image: its (width, height) in pixels, and the embeddings of its five crops, 5 x 4096."""

    path: Path
    size: tuple[int, int]
    embeddings: Tensor


def embed_reference(model: CropScorer, path: Path, read_crops: ReadCrops) -> Reference:
    """Reads and encodes the reference image of a full-reference model; runs on the model's device.

    Raises:
        UserError, ValueError: it cannot be read.
    """
    size = check_header(path)
    with torch.inference_mode():
        full, half = read_crops(path)
        return Reference(path, size, model.embed_crops(full, half))


def _check_size(path: Path, size: tuple[int, int], reference: Path, expected: tuple[int, int]) -> None:
    if size != expected:
        raise UserError(
            f"{path}: {size[0]} x {size[1]} pixels; the reference {reference} has {expected[0]} x {expected[1]}"
        )


def collate(items: list[tuple[Path, Tensor | str]]) -> tuple[list[tuple[Path, str]], Tensor | None]:
    """The paths with their errors ("" without one), and the crops of the readable files, N x 2 x 5 x 3 x c x c."""
    crops = [found for _, found in items if isinstance(found, Tensor)]
    about = [(path, "" if isinstance(found, Tensor) else found) for path, found in items]
    return about, default_collate(crops) if crops else None


def score_crops(model: CropScorer, crops: Tensor, reference: Reference | None = None) -> Tensor:
    """N x 2 x k x 3 x c x c crops, uint8 -> N scores, each the mean over its k crops. Runs on the model's device.

    A full-reference model compares them with the crops of `reference`.
    """
    with torch.inference_mode():
        full, half = crops.unbind(dim=1)
        return model.score_crops(full, half, None if reference is None else reference.embeddings).float().cpu()


def score_images(
    model: CropScorer,
    paths: Sequence[Path],
    read_crops: ReadCrops,
    batch_size: int = 4,
    num_workers: int = 0,
    reference: Reference | None = None,
    rank: Callable[[float], float | None] | None = None,
) -> Iterator[Score]:
    """Scores image files in their order and yields each score as it is ready, or an error if the file is unreadable.

    Args:
        model: scores the crops.
        paths: the image files.
        read_crops: reads a file; it can be pickled, for the workers.
        batch_size: images that go through the model together.
        num_workers: processes that read images; 0 reads in the main one.
        reference: of all images, for a full-reference model. An image of another size gets an error.
        rank: gives the rank of a score.
    """
    files = DataLoader(
        ImageFiles(paths, read_crops, reference),
        batch_size,
        num_workers=worker_count(num_workers),
        collate_fn=collate,
        worker_init_fn=leave_stopping_to_parent,
    )
    for about, crops in batches(files):
        scores = iter([] if crops is None else score_crops(model, crops, reference).tolist())
        for path, error in about:
            score = float("nan") if error else next(scores)
            if not error and not math.isfinite(score):
                error = f"{path}: the score is not finite; use --precision float32, or undamaged weights"
            yield Score(path, error=error) if error else Score(path, score, rank=rank(score) if rank else None)
