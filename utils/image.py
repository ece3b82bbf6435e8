"""Reading images, crops, and conversion to tensors."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageFile
from torch import Tensor

from utils.errors import UserError
from utils.fast_decoders import decode_opened

IMAGE_SUFFIXES = {".bmp", ".gif", ".jp2", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"}
SIXTEEN_BITS_AS_I = ("PNG", "PPM")  # formats whose 16-bit grey Pillow reads in mode I (PNG: older releases)
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
ERRORS = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)  # of Pillow, for a file that it cannot read
_one_thread = threading.Lock()
_MEAN = torch.tensor(IMAGENET_MEAN).view(3, 1, 1)
_STD = torch.tensor(IMAGENET_STD).view(3, 1, 1)


def open_image(path: str | Path, truncated: list[str] | None = None) -> Image.Image:
    """Reads an image file as RGB.

    As in the published pipeline, an EXIF rotation is not applied. Grey and palette images get three channels, an alpha
    channel is dropped, CMYK is converted with Pillow's formula, and 16-bit grey is scaled to 8 bits (65535 to 255).
    Files with 32-bit integers or floats are refused, because nothing says which value is white.

    Args:
        path: of the file.
        truncated: if given, a truncated file is read as far as it goes, as in the published pipeline, and a line about
            it is added to the list. Pillow decides what is in the place of the missing pixels (mostly grey or black).

    Raises:
        UserError: the file is missing, a folder, empty, not an image, has 32-bit pixels, or is truncated: without
            `truncated` anywhere, else before its first pixel.
    """
    try:
        return _read(path, lenient=False)
    except ERRORS as error:
        if truncated is not None:
            with suppress(*ERRORS):
                image = _read(path, lenient=True)
                truncated.append(f"{path}: truncated or damaged; read as far as it goes ({_reason(error)})")
                return image
        raise UserError(f"{path}: not a readable image ({_reason(error)})") from error


def read_pixels(path: str | Path, truncated: list[str] | None = None) -> Tensor:
    """Reads an image file as a 3 x H x W uint8 tensor: `open_image`, faster where imagecodecs is installed.

    Raises:
        UserError: see `open_image`.
    """
    try:
        with _truncated_allowed(False), _opened(path) as image:
            pixels = decode_opened(image)
            pixels = np.array(_rgb(image)) if pixels is None else pixels
    except ERRORS:
        pixels = np.array(open_image(path, truncated))
    return torch.from_numpy(pixels).permute(2, 0, 1)


def check_header(path: str | Path) -> tuple[int, int]:
    """Finds out, without reading the pixels, whether `open_image` can read at least a part of the file.

    Returns:
        Width and height in pixels.

    Raises:
        UserError: the file is missing, a folder, empty, not an image, or has 32-bit pixels.
    """
    try:
        with _opened(path) as image:
            return image.size
    except ERRORS as error:
        raise UserError(f"{path}: not a readable image ({_reason(error)})") from error


def _read(path: str | Path, lenient: bool) -> Image.Image:
    with _truncated_allowed(lenient), _opened(path) as image:
        return _rgb(image)


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16-bit; Pillow's conversion would clip at 255
        return Image.fromarray((np.asarray(image) / 257).round().astype(np.uint8)).convert("RGB")
    image.load()
    # Do not convert an RGB image, because Pillow would copy it.
    return image if image.mode == "RGB" else image.convert("RGB")


@contextmanager
def _opened(path: str | Path) -> Iterator[Image.Image]:
    if Path(path).exists() and not Path(path).is_file():  # opening a pipe would wait for ever
        raise ValueError("not a regular file")
    with Image.open(path) as image:
        if image.mode == "F" or (image.mode == "I" and image.format not in SIXTEEN_BITS_AS_I):
            raise ValueError(f"{image.mode} pixels of 32 bits have no known range; convert them to 8 or 16 bits")
        yield image


@contextmanager
def _truncated_allowed(allowed: bool) -> Iterator[None]:
    """Sets Pillow's flag, which all threads of a process share; so one thread at a time reads."""
    with _one_thread:
        before = ImageFile.LOAD_TRUNCATED_IMAGES
        ImageFile.LOAD_TRUNCATED_IMAGES = allowed
        try:
            yield
        finally:
            ImageFile.LOAD_TRUNCATED_IMAGES = before


def _reason(error: BaseException) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def open_thumbnail(path: str | Path, longest: int) -> Image.Image:
    """Reads an image, or what there is of a truncated one, so that its longer side has at most `longest` pixels.

    Raises:
        UserError: see `open_image`.
    """
    try:
        with _truncated_allowed(True), _opened(path) as opened:
            opened.draft(None, (2 * longest, 2 * longest))  # a JPEG is decoded at a fraction of its size and time
            image = _rgb(opened)
    except ERRORS as error:
        raise UserError(f"{path}: not a readable image ({_reason(error)})") from error
    image.thumbnail((longest, longest))
    return image


def resize_shorter_side(image: Image.Image, side: int | None) -> Image.Image:
    """Bicubic resize: the shorter side becomes `side` pixels, the longer one int(side * w / h) or int(side / (w / h)).

    None leaves the image as it is.
    """
    if side is None:
        return image
    w, h = image.size
    aspect = w / h  # rounded before it is used, as in the published code: it decides a few sizes
    size = (side, int(side / aspect)) if w < h else (int(side * aspect), side)
    return image.resize(size, Image.Resampling.BICUBIC)


def half_scale(image: Image.Image) -> Image.Image:
    """The image resized to (W // 2, H // 2), at least 1 x 1, with Pillow's bicubic filter."""
    return image.resize((max(1, image.width // 2), max(1, image.height // 2)), Image.Resampling.BICUBIC)


def center_corners_crop(image: Image.Image, crop_size: int) -> list[Image.Image]:
    """Centre, top-left, bottom-left, top-right and bottom-right crops of crop_size x crop_size (paper section 4.2).

    A crop that is larger than the image is padded with zeros. In a corner crop, the image stays at this corner; in the
    centre crop, it is in the centre: the image's pixel (W // 2, H // 2) is the crop's (crop_size // 2, crop_size // 2).
    """
    w, h, s = image.width, image.height, crop_size
    corners = [(w // 2 - s // 2, h // 2 - s // 2), (0, 0), (0, h - s), (w - s, 0), (w - s, h - s)]
    return [image.crop((x, y, x + s, y + s)) for x, y in corners]


def to_tensor(image: Image.Image) -> Tensor:
    """RGB image -> 3 x H x W float32 in [0, 1], contiguous."""
    return torch.from_numpy(np.asarray(image).transpose(2, 0, 1).astype(np.float32, order="C")).div_(255)


def to_pixels(image: Image.Image) -> Tensor:
    """RGB image -> 3 x H x W uint8, contiguous."""
    return torch.from_numpy(np.asarray(image).transpose(2, 0, 1).copy())


def normalize(image: Tensor) -> Tensor:
    """ImageNet normalisation of ... x 3 x H x W values in [0, 1], or of uint8 values in 0..255, on their device."""
    values = image / 255 if image.dtype == torch.uint8 else image
    return (values - _MEAN.to(image.device)).div_(_STD.to(image.device))


def denormalize(image: Tensor) -> Tensor:
    """Inverse of `normalize`, clipped to [0, 1]."""
    return (image * _STD.to(image.device) + _MEAN.to(image.device)).clamp_(0, 1)
