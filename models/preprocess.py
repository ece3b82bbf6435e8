"""From an image to what the model sees: RGB, two scales, five crops of each, ImageNet-normalised.

An image is a Pillow image, resized by Pillow as in the published code, or a tensor 3 x H x W of floats in [0, 1],
resized by PyTorch so that it has a gradient. `utils/image.py` reads and crops the images of datasets. Modules that
torch.hub loads cannot import it; a test holds both equal.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageFile
from torch import Tensor

from .errors import ImageError

CROP_NAMES = ("centre", "top left", "bottom left", "top right", "bottom right")
SMALLEST_SIDE = 32  # pixels: the encoder's last layer has one value for that many
SIXTEEN_BITS_AS_I = ("PNG", "PPM")  # formats whose 16-bit grey Pillow reads in mode I (PNG: older releases)
UNREADABLE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)  # what Pillow raises
_MEAN = torch.tensor((0.485, 0.456, 0.406)).view(3, 1, 1)
_STD = torch.tensor((0.229, 0.224, 0.225)).view(3, 1, 1)
_one_thread = threading.Lock()

Picture = TypeVar("Picture", bound=Image.Image | Tensor)


def open_image(path: str | Path) -> Image.Image:
    """Reads an image file as RGB; see `to_rgb`. An EXIF rotation is not applied, as in the published code.

    Raises:
        ImageError: the file is missing, a folder, empty, truncated, not an image, or has 32-bit pixels.
    """
    try:
        if Path(path).exists() and not Path(path).is_file():  # opening a pipe would wait for ever
            raise ValueError("not a regular file")
        with _truncated_refused(), Image.open(path) as image:
            return _rgb(image)
    except UNREADABLE as error:
        raise ImageError(f"{path}: not a readable image ({_reason(error)})") from error


def to_rgb(image: Image.Image, name: str) -> Image.Image:
    """Grey and palette images get three channels, an alpha channel is dropped, 16-bit grey is scaled to 8 bits.

    CMYK is converted with Pillow's formula.

    Raises:
        ImageError: it has 32-bit pixels, of which nothing says which value is white, or cannot be read.
    """
    try:
        return _rgb(image)
    except UNREADABLE as error:
        raise ImageError(f"{name}: not a readable image ({_reason(error)})") from error


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F" or (image.mode == "I" and image.format not in SIXTEEN_BITS_AS_I):
        raise ValueError(f"{image.mode} pixels of 32 bits have no known range; convert them to 8 or 16 bits")
    if image.mode.startswith("I"):  # 16-bit; Pillow's conversion would clip at 255
        return Image.fromarray((np.asarray(image) / 257).round().astype(np.uint8)).convert("RGB")
    image.load()
    return image if image.mode == "RGB" else image.convert("RGB")


@contextmanager
def _truncated_refused() -> Iterator[None]:
    """Unsets Pillow's flag, which all threads of a process share; so one thread at a time reads."""
    with _one_thread:
        before = ImageFile.LOAD_TRUNCATED_IMAGES
        ImageFile.LOAD_TRUNCATED_IMAGES = False
        try:
            yield
        finally:
            ImageFile.LOAD_TRUNCATED_IMAGES = before


def _reason(error: BaseException) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def size(image: Image.Image | Tensor) -> tuple[int, int]:
    """(width, height) in pixels."""
    return (image.shape[-1], image.shape[-2]) if isinstance(image, Tensor) else image.size


def check_size(name: str | Path, image: Image.Image | Tensor) -> None:
    """Refuses an image of which the encoder sees next to nothing.

    Raises:
        ImageError: a side has fewer than `SMALLEST_SIDE` pixels.
    """
    width, height = size(image)
    if min(width, height) < SMALLEST_SIDE:
        raise ImageError(f"{name}: {width} x {height} pixels; expected at least {SMALLEST_SIDE} on each side")


def half_scale(image: Picture) -> Picture:
    """The image at (W // 2, H // 2) by an antialiased bilinear resize, as the published code scores files."""
    width, height = size(image)
    return _resize(image, max(1, width // 2), max(1, height // 2), Image.Resampling.BILINEAR)


def resize_shorter_side(image: Picture, side: int | None) -> Picture:
    """Bicubic resize: the shorter side becomes `side` pixels, the longer one int(side * w / h) or int(side / (w / h)).

    None leaves the image as it is.
    """
    if side is None:
        return image
    width, height = size(image)
    aspect = width / height  # rounded before it is used, as in the published code: it decides a few sizes
    width, height = (side, int(side / aspect)) if width < height else (int(side * aspect), side)
    return _resize(image, width, height, Image.Resampling.BICUBIC)


def _resize(image: Image.Image | Tensor, width: int, height: int, how: Image.Resampling) -> Any:
    if not isinstance(image, Tensor):
        return image.resize((width, height), how)
    mode = how.name.lower()
    resized = F.interpolate(image.unsqueeze(0), (height, width), mode=mode, antialias=True).squeeze(0)
    return resized.clamp(0, 1) if how == Image.Resampling.BICUBIC else resized  # it overshoots; Pillow clips too


def two_scales(image: Image.Image | Tensor, shorter_side: int | None = None) -> tuple[Tensor, Tensor]:
    """The image, after `resize_shorter_side`, and its half: 3 x H x W and 3 x H // 2 x W // 2.

    They are uint8 for a Pillow image, and floats in [0, 1] for such a tensor.
    """
    full = resize_shorter_side(image, shorter_side)
    return to_pixels(full), to_pixels(half_scale(full))


def to_pixels(image: Image.Image | Tensor) -> Tensor:
    """RGB image -> 3 x H x W uint8. A tensor stays as it is."""
    return image if isinstance(image, Tensor) else torch.from_numpy(np.array(image)).permute(2, 0, 1)


def five_crops(image: Tensor, crop_size: int) -> Tensor:
    """3 x H x W -> 5 x 3 x c x c: the crops in `CROP_NAMES`, in this order (paper section 4.2).

    A crop that is larger than the image is padded with zeros. In a corner crop, the image stays at this corner; in the
    centre crop, its pixel (W // 2, H // 2) is the crop's (c // 2, c // 2).
    """
    (w, h), c = size(image), crop_size
    corners = [(w // 2 - c // 2, h // 2 - c // 2), (0, 0), (0, h - c), (w - c, 0), (w - c, h - c)]
    return torch.stack([F.pad(image, (-x, x + c - w, -y, y + c - h)) for x, y in corners])  # less than 0 cuts off


def two_scale_crops(image: Image.Image | Tensor, crop_size: int, shorter_side: int | None = None) -> Tensor:
    """Five crops of `two_scales`: 2 x 5 x 3 x c x c, full scale, then half scale."""
    return torch.stack([five_crops(scale, crop_size) for scale in two_scales(image, shorter_side)])


def read_crops(path: str | Path, crop_size: int, shorter_side: int | None = None) -> Tensor:
    """An image file -> its `two_scale_crops`, uint8.

    Raises:
        ImageError: the file cannot be read, or the image is too small.
    """
    image = open_image(path)
    check_size(path, image)
    return two_scale_crops(image, crop_size, shorter_side)


def to_unit(image: Tensor) -> Tensor:
    """uint8 values as floats in [0, 1]; floats stay as they are."""
    return image / 255 if image.dtype == torch.uint8 else image


def normalize(image: Tensor) -> Tensor:
    """ImageNet normalisation of ... x 3 x H x W values, uint8 or floats in [0, 1], on their device."""
    return (to_unit(image) - _MEAN.to(image.device)).div_(_STD.to(image.device))
