"""Pre-training samples: crops of two pristine images with the same degradation (paper sections 3.1 and 4.1)."""

import hashlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import Dataset, default_collate

from data.fast_png import read_pixels
from models.errors import UserError
from models.image_file import FORMATS, find_images
from models.preprocess import normalize
from utils.distortions import degrade, sample_composition
from utils.runtime.distributed import is_rank0


class KADIS700Dataset(Dataset):
    """Pairs of pristine images, each cropped at full and at half scale. All four crops get the same degradation.

    A sample is a pure function of (seed, epoch, index). So it does not depend on the number of workers or ranks, or on
    whether the run was resumed. The four crops share distortion types and levels; the random values within a distortion
    (noise, angles, positions) are drawn separately for each crop.

    Args:
        root: folder of the dataset.
        patch_size: side of the crops in pixels. A crop larger than the image is zero-padded at the right and bottom.
        max_distortions: maximum number of distortions per sample, 0 to 7. With 0, nothing is degraded.
        num_levels: number of distortion levels, 1 to 5; the mildest ones are used.
        pristine_prob: probability that a sample is not degraded.
        seed: seed of all random draws.
        same_image: photo B is photo A, with crops of its own: the paper's comparison. All other draws stay the same.
        images_folder: folder of the images in `root`, read with its subfolders and sorted by path; "." for `root`.

    Raises:
        UserError: the folder does not exist or contains no images.
    """

    def __init__(
        self,
        root: str | Path,
        patch_size: int = 224,
        max_distortions: int = 4,
        num_levels: int = 5,
        pristine_prob: float = 0.05,
        seed: int = 27,
        same_image: bool = False,
        images_folder: str = "ref_imgs",
    ) -> None:
        self.folder = Path(root) / images_folder
        if not self.folder.is_dir():
            raise UserError(
                f"{self.folder}: no such folder; it must contain the pristine training images "
                "(for KADIS700, see docs/training.md; for a small example, run 'python -m data.quickstart')"
            )
        self.images, skipped = find_images(self.folder)
        if skipped and is_rank0():
            print(skipped, file=sys.stderr)
        if not self.images:
            raise UserError(f"{self.folder}: no images found; expected files with {', '.join(sorted(FORMATS))}")
        self.patch_size = patch_size
        self.max_distortions = max_distortions
        self.num_levels = num_levels
        self.pristine_prob = pristine_prob
        self.seed = seed
        self.same_image = same_image

    @property
    def fingerprint(self) -> str:
        """Number of images and hash of their names in order, on which every sample depends."""
        names = "\n".join(path.relative_to(self.folder).as_posix() for path in self.images)
        return f"{len(self)} (names {hashlib.sha256(names.encode('utf-8', 'surrogateescape')).hexdigest()[:8]})"

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, position: tuple[int, int]) -> dict[str, Any]:
        """Returns the sample of image A = `index` in `epoch`, given (epoch, index).

        Returns:
            Dictionary with
            `img_A_orig`, `img_A_ds`, `img_B_orig`, `img_B_ds`: crops at full scale (orig) and half scale (ds),
            3 x patch_size x patch_size, ImageNet-normalised;
            `img_A_name`, `img_B_name`: file names;
            `composition`: list of (type, level value), empty if nothing was degraded;
            `unreadable`: one message for each image that could not be read and was replaced by another one;
            `truncated`: one message for each image that was read only as far as its truncated file goes.
        """
        epoch, index = position
        generator = sample_generator(self.seed, epoch, index)
        unreadable: list[str] = []
        truncated: list[str] = []
        pixels_a, path_a = self._read(index, generator, unreadable, truncated)
        other = _draw(len(self), generator)
        if self.same_image:
            pixels_b, path_b = pixels_a, path_a
        else:
            pixels_b, path_b = self._read(other, generator, unreadable, truncated)
        crops = {}
        for name, pixels in (("img_A", pixels_a), ("img_B", pixels_b)):
            crops[f"{name}_orig"] = random_crop(pixels, self.patch_size, generator)
            crops[f"{name}_ds"] = random_crop(half_scale_pixels_bicubic(pixels), self.patch_size, generator)
        composition: list[tuple[str, float]] = []
        if self.max_distortions > 0 and torch.rand((), generator=generator).item() >= self.pristine_prob:
            composition = sample_composition(generator, self.max_distortions, self.num_levels)
        # inference_mode saves 1.6 % of the time. Applying each distortion to all four crops before the next one saves
        # 1.7 % compared to one crop after the other.
        with torch.inference_mode():
            for step in composition:
                crops = {name: degrade(crop, [step], generator) for name, crop in crops.items()}
        return {
            **{name: normalize(crop) for name, crop in crops.items()},  # outside inference_mode, for use with autograd
            "img_A_name": path_a.name,
            "img_B_name": path_b.name,
            "composition": composition,
            "unreadable": unreadable,
            "truncated": truncated,
        }

    def _read(
        self, index: int, generator: torch.Generator, unreadable: list[str], truncated: list[str]
    ) -> tuple[Tensor, Path]:
        """Reads image `index`. If it cannot be read, tries other images drawn with the sample's generator.

        After ten unreadable images in a row, returns a black image instead of raising an error. The training loop stops
        when too many images are unreadable, with a clearer message than an exception from a worker.
        """
        for _ in range(10):
            try:
                return read_pixels(self.images[index], truncated), self.images[index]
            except UserError as error:
                unreadable.append(str(error))
                index = _draw(len(self), generator)
        return torch.zeros(3, self.patch_size, self.patch_size, dtype=torch.uint8), self.images[index]


def sample_generator(seed: int, epoch: int, index: int) -> torch.Generator:
    """Random generator of one sample, seeded only from (seed, epoch, index)."""
    (mixed,) = np.random.SeedSequence([seed, epoch, index]).generate_state(1, np.uint32)
    return torch.Generator().manual_seed(int(mixed))


def half_scale_pixels_bicubic(pixels: Tensor) -> Tensor:
    """Halves the size: 3 x H x W uint8 -> 3 x H // 2 x W // 2 uint8 (at least 1 x 1).

    Same as `half_scale_bicubic` (Pillow's), but several times faster. The filter weights have fewer bits, so a few
    values differ by 1 (docs/fidelity.md). Testing uses Pillow.
    """
    height, width = pixels.shape[1:]
    return F.interpolate(pixels[None], (max(1, height // 2), max(1, width // 2)), mode="bicubic", antialias=True)[0]


def random_crop(pixels: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """Random size x size crop of a 3 x H x W uint8 image, as float32 in [0, 1].

    The offset on each axis is uniform in [0, max(1, side - size)). If the image is smaller than the crop, the crop is
    zero-padded at the right and bottom.
    """
    height, width = pixels.shape[1:]
    x = _draw(max(1, width - size), generator)
    y = _draw(max(1, height - size), generator)
    crop = torch.div(pixels[:, y : y + size, x : x + size], 255).contiguous()
    if min(height, width) >= size:
        return crop
    return F.pad(crop, (0, max(0, size - width), 0, max(0, size - height)))


def collate_samples(samples: list[dict[str, Any]]) -> dict[str, Any]:
    """Collates n samples into a batch.

    A worker stacks in shared memory. If there is too little, the error is raised here, and not in a thread of PyTorch
    in which it would be lost and the batch awaited for ever.

    Returns:
        Dictionary with `view_a` and `view_b`, 2n x 3 x patch_size x patch_size each: the full-scale crops of the
        samples, then the half-scale ones. All else of the samples is collected in lists.
    """
    views = {
        f"view_{view.lower()}": default_collate([s[f"img_{view}_{scale}"] for scale in ("orig", "ds") for s in samples])
        for view in "AB"
    }
    others = {name: [s[name] for s in samples] for name, value in samples[0].items() if not isinstance(value, Tensor)}
    return views | others


def _draw(bound: int, generator: torch.Generator) -> int:
    return int(torch.randint(bound, (), generator=generator))
