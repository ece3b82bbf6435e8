"""Prepares images for the encoder: two scales, crops of each scale, ImageNet normalisation.

An image is a Pillow image, resized by Pillow as in the published code, or a tensor 3 x H x W of floats in [0, 1],
resized by PyTorch so that it has a gradient.
"""

from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from .errors import ImageError
from .image_file import open_image as open_image  # programs import it from here

CROP_NAMES = ("centre", "top left", "bottom left", "top right", "bottom right")
SMALLEST_SIDE = 32  # in pixels; the encoder's last feature map is then 1 x 1
_MEAN = torch.tensor((0.485, 0.456, 0.406)).view(3, 1, 1)
_STD = torch.tensor((0.229, 0.224, 0.225)).view(3, 1, 1)

Picture = TypeVar("Picture", bound=Image.Image | Tensor)


def size(image: Image.Image | Tensor) -> tuple[int, int]:
    """Returns (width, height) in pixels."""
    return (image.shape[-1], image.shape[-2]) if isinstance(image, Tensor) else image.size


def check_size(name: str | Path, image: Image.Image | Tensor) -> None:
    """Checks that an image is large enough for the encoder.

    Raises:
        ImageError: a side has fewer than `SMALLEST_SIDE` pixels.
    """
    width, height = size(image)
    if min(width, height) < SMALLEST_SIDE:
        raise ImageError(f"{name}: {width} x {height} pixels; expected at least {SMALLEST_SIDE} on each side")


def half_scale_bilinear(image: Picture) -> Picture:
    """Resizes an image to (W // 2, H // 2) (bilinear, antialiased), as the published code does to score files."""
    return _half(image, Image.Resampling.BILINEAR)


def half_scale_bicubic(image: Picture) -> Picture:
    """Resizes an image to (W // 2, H // 2) (bicubic, antialiased), as the published code does to read datasets."""
    return _half(image, Image.Resampling.BICUBIC)


def resize_shorter_side_bicubic(image: Picture, side: int | None) -> Picture:
    """Resizes an image (bicubic) so that its shorter side has `side` pixels; None returns it unchanged.

    The longer side is int(side * w / h) or int(side / (w / h)).
    """
    if side is None:
        return image
    width, height = size(image)
    aspect = width / height  # rounded before it is used, as in the published code: it decides a few sizes
    width, height = (side, int(side / aspect)) if width < height else (int(side * aspect), side)
    return _resize(image, width, height, Image.Resampling.BICUBIC)


def _half(image: Picture, how: Image.Resampling) -> Picture:
    width, height = size(image)
    return _resize(image, max(1, width // 2), max(1, height // 2), how)


def _resize(image: Image.Image | Tensor, width: int, height: int, how: Image.Resampling) -> Any:
    if not isinstance(image, Tensor):
        return image.resize((width, height), how)
    mode = how.name.lower()
    resized = F.interpolate(image.unsqueeze(0), (height, width), mode=mode, antialias=True).squeeze(0)
    return resized.clamp(0, 1) if how == Image.Resampling.BICUBIC else resized  # it overshoots; Pillow clips too


def two_scales(image: Image.Image | Tensor, shorter_side: int | None = None) -> tuple[Tensor, Tensor]:
    """Returns an image at full and half scale, 3 x H x W and 3 x H // 2 x W // 2, after `resize_shorter_side_bicubic`.

    Both are uint8 for a Pillow image, and floats in [0, 1] for a float tensor.
    """
    full = resize_shorter_side_bicubic(image, shorter_side)
    return to_pixels(full), to_pixels(half_scale_bilinear(full))


def to_pixels(image: Image.Image | Tensor) -> Tensor:
    """Converts an RGB image to 3 x H x W uint8; tensors are returned unchanged."""
    return image if isinstance(image, Tensor) else torch.from_numpy(np.array(image)).permute(2, 0, 1)


def to_tensor(image: Image.Image) -> Tensor:
    """Converts an RGB image to 3 x H x W float32 in [0, 1], contiguous."""
    return to_unit(to_pixels(image)).contiguous()


def five_crops(image: Tensor, crop_size: int) -> Tensor:
    """Returns the crops in the order of `CROP_NAMES`: 3 x H x W -> 5 x 3 x c x c (paper section 4.2).

    A crop that is larger than the image is padded with zeros. In a corner crop, the image is aligned with this corner.
    In the centre crop, the pixel (W // 2, H // 2) of the image is the pixel (c // 2, c // 2) of the crop.
    """
    return torch.stack([crop_at(image, x, y, crop_size) for x, y in _corners(*size(image), crop_size)])


def crop_at(image: Tensor, x: int, y: int, crop_size: int) -> Tensor:
    """Returns the crop with its top left pixel at (x, y): 3 x H x W -> 3 x c x c, zero-padded outside the image."""
    (w, h), c = size(image), crop_size
    return F.pad(image, (-x, x + c - w, -y, y + c - h))  # negative padding crops


def center_corners_crop(image: Image.Image, crop_size: int) -> list[Image.Image]:
    """Returns the crops of `five_crops` as Pillow images."""
    c = crop_size
    return [image.crop((x, y, x + c, y + c)) for x, y in _corners(image.width, image.height, c)]


def _corners(w: int, h: int, c: int) -> list[tuple[int, int]]:
    """Returns (x, y) of the top left pixel of each of the five crops."""
    return [(w // 2 - c // 2, h // 2 - c // 2), (0, 0), (0, h - c), (w - c, 0), (w - c, h - c)]


class Preprocessing(NamedTuple):
    """How an image is prepared: the side of its crops (None: the whole image), and `resize_shorter_side_bicubic`."""

    crop_size: int | None
    shorter_side: int | None


def two_scale_crops(
    image: Image.Image | Tensor, crop_size: int | None, shorter_side: int | None = None
) -> tuple[Tensor, Tensor]:
    """Returns the k crops of an image at full scale and at half scale; see `Preprocessing` and `two_scales`.

    They are k x 3 x c x c at both scales, k = 5. The whole image is 1 x 3 x H x W and 1 x 3 x H // 2 x W // 2.
    """
    full, half = two_scales(image, shorter_side)
    if crop_size is None:
        return full.unsqueeze(0), half.unsqueeze(0)
    return five_crops(full, crop_size), five_crops(half, crop_size)


def to_unit(image: Tensor) -> Tensor:
    """Converts uint8 values to floats in [0, 1]; floats are returned unchanged."""
    return image / 255 if image.dtype == torch.uint8 else image


def normalize(image: Tensor) -> Tensor:
    """Applies the ImageNet normalisation to ... x 3 x H x W values, uint8 or floats in [0, 1], on any device."""
    return (to_unit(image) - _MEAN.to(image.device)).div_(_STD.to(image.device))


def denormalize(image: Tensor) -> Tensor:
    """Inverts `normalize` and clips to [0, 1]."""
    return (image * _STD.to(image.device) + _MEAN.to(image.device)).clamp_(0, 1)
