"""Scores of image files by a quality model: five crops at two scales, batched over images of any size."""

import glob
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, default_collate

from utils.errors import UserError
from utils.image import IMAGE_SUFFIXES, center_corners_crop, normalize, open_image, resize_shorter_side, to_pixels
from utils.runtime.workers import batches, leave_stopping_to_parent, worker_count


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


def half_scale_bilinear(image: Image.Image) -> Image.Image:
    """The image at (W // 2, H // 2), at least 1 x 1, by Pillow's antialiased bilinear resize."""
    return image.resize((max(1, image.width // 2), max(1, image.height // 2)), Image.Resampling.BILINEAR)


def two_scale_crops(image: Image.Image, crop_size: int) -> Tensor:
    """RGB image -> 2 x 5 x 3 x c x c crops of side c, uint8: full scale, then half scale.

    Crops that reach beyond the image are padded with zeros.
    """
    scales = (image, half_scale_bilinear(image))
    return torch.stack([torch.stack([to_pixels(c) for c in center_corners_crop(s, crop_size)]) for s in scales])


class ImageFiles(Dataset):
    """Item i: the path of file i and its two-scale crops, or the reason why the file cannot be scored."""

    def __init__(
        self,
        paths: Sequence[Path],
        crop_size: int,
        shorter_side: int | None = None,
        reference: "Reference | None" = None,
    ) -> None:
        self.paths = paths
        self.crop_size = crop_size
        self.shorter_side = shorter_side
        self.path_and_size = None if reference is None else (reference.path, reference.size)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[Path, Tensor | str]:
        path = self.paths[index]
        try:
            image = open_image(path)
            if self.path_and_size is not None:
                _check_size(path, image.size, *self.path_and_size)
            image = resize_shorter_side(image, self.shorter_side)
            return path, two_scale_crops(image, self.crop_size)
        except UserError as error:
            return path, str(error)


@dataclass(frozen=True)
class Reference:
    """A reference image: its (width, height) in pixels, and the embeddings of its five crops, 5 x 4096."""

    path: Path
    size: tuple[int, int]
    embeddings: Tensor


def embed_reference(model: nn.Module, path: Path, crop_size: int, shorter_side: int | None = None) -> Reference:
    """Reads and encodes the reference image of a full-reference model; runs on the model's device.

    Raises:
        UserError: it cannot be read.
    """
    image = open_image(path)
    with torch.inference_mode():
        resized = resize_shorter_side(image, shorter_side)
        crops = two_scale_crops(resized, crop_size).to(next(model.parameters()).device)
        return Reference(path, image.size, model.embed(*normalize(crops)))  # type: ignore[operator]


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


def score_crops(model: nn.Module, crops: Tensor, reference: Reference | None = None) -> Tensor:
    """N x 2 x 5 x 3 x c x c crops, uint8 -> N scores, each the mean over the five crops. Runs on the model's device.

    A full-reference model compares them with the crops of `reference`.
    """
    options = {} if reference is None else {"reference": reference.embeddings.repeat(len(crops), 1)}
    device = next(model.parameters()).device
    with torch.inference_mode():
        full, half = normalize(crops.to(device)).unbind(dim=1)
        scores = model(full.flatten(0, 1), half.flatten(0, 1), **options)
    return scores.view(len(crops), -1).mean(dim=1).float().cpu()


def score_images(
    model: nn.Module,
    paths: Sequence[Path],
    crop_size: int = 224,
    batch_size: int = 4,
    num_workers: int = 0,
    shorter_side: int | None = None,
    reference: Reference | None = None,
    rank: Callable[[float], float | None] | None = None,
) -> Iterator[Score]:
    """Scores image files in their order and yields each score as it is ready, or an error if the file is unreadable.

    Args:
        model: maps full- and half-scale crops (n x 3 x c x c each) to n scores.
        paths: the image files.
        crop_size: c, side of the crops in pixels.
        batch_size: images that go through the model together.
        num_workers: processes that read images; 0 reads in the main one.
        shorter_side: in pixels, to which images are resized before they are cropped; None leaves them as they are.
        reference: of all images, for a full-reference model. An image of another size gets an error.
        rank: gives the rank of a score.
    """
    files = DataLoader(
        ImageFiles(paths, crop_size, shorter_side, reference),
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
