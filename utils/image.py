"""Reading images, crops, and conversion to tensors."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from utils.errors import UserError
from utils.fast_decoders import decode_opened

IMAGE_SUFFIXES = {".bmp", ".gif", ".jp2", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"}
SIXTEEN_BITS_AS_I = ("PNG", "PPM")  # formats whose 16-bit grey Pillow reads in mode I (PNG: older releases)
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
_MEAN = torch.tensor(IMAGENET_MEAN).view(3, 1, 1)
_STD = torch.tensor(IMAGENET_STD).view(3, 1, 1)


def open_image(path: str | Path) -> Image.Image:
    """Reads an image file as RGB.

    As in the published pipeline, an EXIF rotation is not applied. Grey and palette images get three channels, an alpha
    channel is dropped, CMYK is converted with Pillow's formula, and 16-bit grey is scaled to 8 bits (65535 to 255).
    Files with 32-bit integers or floats are refused, because nothing says which value is white.

    Raises:
        UserError: the file is missing, a folder, empty, truncated, not an image, or has 32-bit pixels.
    """
    with _opened(path) as image:
        return _rgb(image)


def read_pixels(path: str | Path) -> Tensor:
    """Reads an image file as a 3 x H x W uint8 tensor: `open_image`, faster where imagecodecs is installed.

    Raises:
        UserError: see `open_image`.
    """
    with _opened(path) as image:
        pixels = decode_opened(image)
        return torch.from_numpy(np.array(_rgb(image)) if pixels is None else pixels).permute(2, 0, 1)


@contextmanager
def _opened(path: str | Path) -> Iterator[Image.Image]:
    try:
        if Path(path).exists() and not Path(path).is_file():  # opening a pipe would wait for ever
            raise ValueError("not a regular file")
        with Image.open(path) as image:
            yield image
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{path}: not a readable image ({reason})") from error


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F" or (image.mode == "I" and image.format not in SIXTEEN_BITS_AS_I):
        raise ValueError(f"{image.mode} pixels of 32 bits have no known range; convert them to 8 or 16 bits")
    if image.mode.startswith("I"):  # 16-bit; Pillow's conversion would clip at 255
        return Image.fromarray((np.asarray(image) / 257).round().astype(np.uint8)).convert("RGB")
    image.load()
    # Do not convert an RGB image, because Pillow would copy it.
    return image if image.mode == "RGB" else image.convert("RGB")


def open_thumbnail(path: str | Path, longest: int) -> Image.Image:
    """Reads an image with `open_image` and downscales it if its longer side has more than `longest` pixels.

    Raises:
        UserError: see `open_image`.
    """
    image = open_image(path)
    image.thumbnail((longest, longest))
    return image


def half_scale(image: Image.Image) -> Image.Image:
    """The image resized to (W // 2, H // 2), at least 1 x 1, with Pillow's bicubic filter."""
    return image.resize((max(1, image.width // 2), max(1, image.height // 2)), Image.Resampling.BICUBIC)


def center_corners_crop(image: Image.Image, crop_size: int) -> list[Image.Image]:
    """Centre, top-left, bottom-left, top-right and bottom-right crops of crop_size x crop_size (paper section 4.2).

    A crop that is larger than the image is padded with zeros. In a corner crop, the image stays at this corner; in the
    centre crop, it is in the centre.
    """
    w, h, s = image.width, image.height, crop_size
    corners = [((w - s) // 2, (h - s) // 2), (0, 0), (0, h - s), (w - s, 0), (w - s, h - s)]
    return [image.crop((x, y, x + s, y + s)) for x, y in corners]


def to_tensor(image: Image.Image) -> Tensor:
    """RGB image -> 3 x H x W float32 in [0, 1], contiguous."""
    return torch.from_numpy(np.asarray(image).transpose(2, 0, 1).astype(np.float32, order="C")).div_(255)


def normalize(image: Tensor) -> Tensor:
    """ImageNet normalisation of ... x 3 x H x W values in [0, 1]."""
    return (image - _MEAN).div_(_STD)


def denormalize(image: Tensor) -> Tensor:
    """Inverse of `normalize`, clipped to [0, 1]."""
    return (image * _STD + _MEAN).clamp_(0, 1)
