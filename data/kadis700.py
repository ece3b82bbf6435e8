"""Pre-training samples: equally degraded crops of two different pristine images (paper section 3.1, 4.1)."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import Dataset

from utils.distortions import degrade, sample_composition
from utils.errors import UserError
from utils.image import IMAGE_SUFFIXES, normalize, open_image


class KADIS700Dataset(Dataset):
    """Pairs of pristine images, each cropped at full and at half scale, all four crops degraded alike.

    A sample is a pure function of (seed, epoch, index): it is the same with any number of workers or ranks and after a
    resumed run. Its types and levels are shared by the four crops; what a distortion draws inside (noise, angles,
    positions) is drawn anew for each crop.

    Args:
        root: folder that holds `ref_imgs` with the images (subfolders included), in name order.
        patch_size: side of the crops in pixels; a crop that leaves the image is zero-padded right and below.
        max_distortions: most distortions in a composition, 0 to 7; with 0 nothing is degraded.
        num_levels: number of levels to draw from, 1 to 5.
        pristine_prob: probability that a sample is left as it is.
        seed: of every draw.
        images_folder: name of the folder in `root`; "." for `root` itself.

    Raises:
        UserError: there is no such folder, or no image in it.
    """

    def __init__(
        self,
        root: str | Path,
        patch_size: int = 224,
        max_distortions: int = 4,
        num_levels: int = 5,
        pristine_prob: float = 0.05,
        seed: int = 27,
        images_folder: str = "ref_imgs",
    ) -> None:
        self.folder = Path(root) / images_folder
        if not self.folder.is_dir():
            raise UserError(
                f"{self.folder}: no such folder; it should hold the pristine training images "
                "(see 'Train' in README.md for where to get KADIS700, or 'python -m data.quickstart' for a small set)"
            )
        self.images = sorted(p for p in self.folder.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES)
        if not self.images:
            raise UserError(f"{self.folder}: no image in it; one of {', '.join(sorted(IMAGE_SUFFIXES))} is expected")
        self.patch_size = patch_size
        self.max_distortions = max_distortions
        self.num_levels = num_levels
        self.pristine_prob = pristine_prob
        self.seed = seed

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, position: tuple[int, int]) -> dict[str, Any]:
        """(epoch, index) -> the sample of image `index` in that epoch.

        Returns:
            `img_A_orig`, `img_A_ds`, `img_B_orig`, `img_B_ds`: 3 x patch_size x patch_size, ImageNet-normalised;
            `img_A_name`, `img_B_name`; `composition`: list of (type, level value), empty if nothing was degraded;
            `unreadable`: one message for each image that could not be read and was replaced by another draw.
        """
        epoch, index = position
        generator = sample_generator(self.seed, epoch, index)
        unreadable: list[str] = []
        pixels_a, path_a = self._read(index, generator, unreadable)
        pixels_b, path_b = self._read(_draw(len(self), generator), generator, unreadable)
        crops = {}
        for name, pixels in (("img_A", pixels_a), ("img_B", pixels_b)):
            crops[f"{name}_orig"] = random_crop(pixels, self.patch_size, generator)
            crops[f"{name}_ds"] = random_crop(half_scale_pixels(pixels), self.patch_size, generator)
        composition: list[tuple[str, float]] = []
        if self.max_distortions > 0 and torch.rand((), generator=generator).item() >= self.pristine_prob:
            composition = sample_composition(generator, self.max_distortions, self.num_levels)
        # Without PyTorch's account of versions and views it takes 1.6 % less time; one distortion on all four crops,
        # then the next, takes 1.7 % less than one crop after the other.
        with torch.inference_mode():
            for step in composition:
                crops = {name: degrade(crop, [step], generator) for name, crop in crops.items()}
        return {
            **{name: normalize(crop) for name, crop in crops.items()},  # outside, so that gradients may flow
            "img_A_name": path_a.name,
            "img_B_name": path_b.name,
            "composition": composition,
            "unreadable": unreadable,
        }

    def _read(self, index: int, generator: torch.Generator, unreadable: list[str]) -> tuple[Tensor, Path]:
        """The image of that index or, where it cannot be read, of the next index drawn from the sample's generator.

        After ten unreadable ones in a row it is a black image: training ends over that many, and says so better than
        an error that comes out of a worker.
        """
        for _ in range(10):
            try:
                return read_pixels(self.images[index]), self.images[index]
            except UserError as error:
                unreadable.append(str(error))
                index = _draw(len(self), generator)
        return torch.zeros(3, self.patch_size, self.patch_size, dtype=torch.uint8), self.images[index]


def sample_generator(seed: int, epoch: int, index: int) -> torch.Generator:
    """The generator of one sample, seeded from (seed, epoch, index) and nothing else."""
    (mixed,) = np.random.SeedSequence([seed, epoch, index]).generate_state(1, np.uint32)
    return torch.Generator().manual_seed(int(mixed))


def read_pixels(path: Path) -> Tensor:
    """The image of `open_image` as 3 x H x W uint8.

    Raises:
        UserError: as `open_image`.
    """
    return torch.from_numpy(np.array(open_image(path))).permute(2, 0, 1)


def half_scale_pixels(pixels: Tensor) -> Tensor:
    """3 x H x W uint8 -> 3 x H // 2 x W // 2 uint8 (at least 1 x 1): `utils.image.half_scale`, several times quicker.

    It is Pillow's bicubic with weights of fewer bits: few values differ, by 1 (docs/fidelity.md). Testing keeps to
    Pillow's own.
    """
    height, width = pixels.shape[1:]
    return F.interpolate(pixels[None], (max(1, height // 2), max(1, width // 2)), mode="bicubic", antialias=True)[0]


def random_crop(pixels: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """A size x size crop of 3 x H x W uint8 at an offset uniform in [0, max(1, side - size)) on each axis, in [0, 1].

    Where the image is smaller, the crop holds it top left and zeros to the right and below.
    """
    height, width = pixels.shape[1:]
    x = _draw(max(1, width - size), generator)
    y = _draw(max(1, height - size), generator)
    crop = torch.div(pixels[:, y : y + size, x : x + size], 255).contiguous()
    if min(height, width) >= size:
        return crop
    return F.pad(crop, (0, max(0, size - width), 0, max(0, size - height)))


def collate(samples: list[dict[str, Any]]) -> dict[str, Any]:
    """Samples to a batch: tensors are stacked, everything else becomes a list."""
    return {
        key: torch.stack([s[key] for s in samples]) if isinstance(value, Tensor) else [s[key] for s in samples]
        for key, value in samples[0].items()
    }


def _draw(bound: int, generator: torch.Generator) -> int:
    return int(torch.randint(bound, (), generator=generator))
