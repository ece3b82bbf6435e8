"""Reads image files as RGB. The whole project opens images through this module."""

import os
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
from PIL import Image, ImageFile, PngImagePlugin, features

from .errors import ImageError, UserError, shorten

# Suffixes of image files and Pillow's decoders for them. No other decoder is tried: that of EPS starts a program.
FORMATS = {
    **dict.fromkeys((".jpg", ".jpeg", ".jpe", ".jfif"), "JPEG"),
    **dict.fromkeys((".pbm", ".pgm", ".pnm", ".ppm"), "PPM"),
    **dict.fromkeys((".tif", ".tiff"), "TIFF"),
    ".bmp": "BMP",
    ".gif": "GIF",
    ".jp2": "JPEG2000",
    ".png": "PNG",
    ".tga": "TGA",
    ".webp": "WEBP",
    **({".avif": "AVIF"} if "avif" in features.modules and features.check("avif") else {}),
}
DECODERS = sorted(set(FORMATS.values()))
METADATA_LIMIT = 2**26  # bytes of a PNG's text or colour profile; Pillow's limit is 2**20
SIXTEEN_BITS_AS_I = ("PNG", "PPM")  # formats whose 16-bit grey Pillow reads in mode I (PNG: older releases)
BITS_PER_SAMPLE, PHOTOMETRIC, WHITE_IS_ZERO = 258, 262, 0  # TIFF tags, and a value of the second one
_one_thread = threading.Lock()


def open_image(path: str | Path, truncated: list[str] | None = None) -> Image.Image:
    """Reads an image file as RGB; see `to_rgb`. An EXIF rotation is not applied, as in the published code.

    Args:
        path: file path.
        truncated: if given, the intact part of a truncated file is read, as in the published training, and a line about
            the file is appended to this list. Pillow chooses the missing pixels (mostly grey or black).

    Raises:
        ImageError: the file is missing, not a regular file, not an image, or has 32-bit pixels; or it is truncated and
            `truncated` is not given, or no pixel is intact.
    """
    try:
        with _opened(path) as image:
            return _rgb(image)
    except ImageError as error:
        if truncated is not None:
            with suppress(ImageError), _opened(path, lenient=True) as image:
                read = _rgb(image)
                reason = shorten(error.__cause__)
                truncated.append(f"{path}: truncated or damaged; only its intact part is used ({reason})")
                return read
        raise


def check_header(path: str | Path) -> tuple[int, int]:
    """Reads width and height in pixels, without decoding the pixels.

    Raises:
        ImageError: the file is missing, not a regular file, not an image, or has 32-bit pixels.
    """
    with _opened(path) as image:
        return image.size


def open_thumbnail(path: str | Path, longest: int) -> Image.Image:
    """Reads an image, truncated or not, and shrinks it to at most `longest` pixels on its longer side.

    Raises:
        ImageError: as `open_image`.
    """
    with _opened(path, lenient=True) as opened:
        opened.draft(None, (2 * longest, 2 * longest))  # a JPEG is decoded at a fraction of its size and time
        image = _rgb(opened)
    image.thumbnail((longest, longest))
    return image


def to_rgb(image: Image.Image, name: str) -> Image.Image:
    """Converts a Pillow image to RGB.

    Grey and palette images get three channels, an alpha channel is dropped, CMYK is converted with Pillow's formula,
    and 16-bit grey is scaled to 8 bits.

    Raises:
        ImageError: the image cannot be decoded, or has 32-bit pixels with an unknown white level.
    """
    with _one_line(name):
        return _rgb(image)


def find_images(folder: Path) -> tuple[list[Path], str]:
    """Returns the sorted image files in a folder and its subfolders, and a line that counts other files by suffix.

    Links are followed; a folder with several paths is visited once. The line is empty without other files.

    Raises:
        UserError: a folder cannot be read.
    """

    def refuse(error: OSError) -> None:
        raise UserError(f"{error.filename}: cannot be read ({error.strerror})") from error

    images, others, visited = [], Counter[str](), set()
    for place, folders, files in os.walk(folder, onerror=refuse, followlinks=True):
        status = Path(place).stat()
        if (status.st_dev, status.st_ino) in visited:
            folders.clear()
            continue
        visited.add((status.st_dev, status.st_ino))
        folders.sort()
        for path in (Path(place, name) for name in files):
            suffix = path.suffix.lower()
            if suffix in FORMATS:  # a broken link gets its own error when it is read
                images.append(path)
            else:
                others[suffix or "no suffix"] += 1
    counts = ", ".join(f"{count} {suffix}" for suffix, count in sorted(others.items()))
    return sorted(images), f"{folder}: skipped files without an image suffix: {counts}" if counts else ""


@contextmanager
def _opened(path: str | Path, lenient: bool = False) -> Iterator[Image.Image]:
    """Opens an image; its pixels must be decoded inside the context.

    Pillow's settings are process-wide, so a lock lets one thread read at a time.
    """
    with _one_line(path), _one_thread:
        if Path(path).exists() and not Path(path).is_file():  # reading a pipe would wait forever
            raise ValueError("not a regular file")
        before = ImageFile.LOAD_TRUNCATED_IMAGES, PngImagePlugin.MAX_TEXT_CHUNK
        ImageFile.LOAD_TRUNCATED_IMAGES, PngImagePlugin.MAX_TEXT_CHUNK = lenient, METADATA_LIMIT
        try:
            with Image.open(path, formats=DECODERS) as image:
                _check_pixels(image)
                yield image
        finally:
            ImageFile.LOAD_TRUNCATED_IMAGES, PngImagePlugin.MAX_TEXT_CHUNK = before


@contextmanager
def _one_line(name: str | Path) -> Iterator[None]:
    """Converts any error of a decoder to an ImageError of one line."""
    try:
        yield
    except Exception as error:
        reason = "no such file" if isinstance(error, FileNotFoundError) else shorten(error) or type(error).__name__
        shown = repr(str(name)) if str(name) != str(name).strip() else name  # shows a space at the end
        raise ImageError(f"{shown}: not a readable image ({reason})") from error


def _check_pixels(image: Image.Image) -> None:
    if image.mode == "F" or (image.mode == "I" and image.format not in SIXTEEN_BITS_AS_I):
        raise ValueError(f"{image.mode} pixels of 32 bits have no known range; convert them to 8 or 16 bits")


def _rgb(image: Image.Image) -> Image.Image:
    _check_pixels(image)
    if image.mode.startswith("I"):
        return _eight_bits(image).convert("RGB")
    image.load()
    return image if image.mode == "RGB" else image.convert("RGB")  # converting RGB would copy it


def _eight_bits(image: Image.Image) -> Image.Image:
    """Scales grey of up to 16 bits to 8, from the range that a TIFF states; Pillow's conversion would clip at 255."""
    tags = getattr(image, "tag_v2", {})
    white = 2 ** tags.get(BITS_PER_SAMPLE, (16,))[0] - 1
    values = np.asarray(image).astype(np.float64) * (255 / white)
    if tags.get(PHOTOMETRIC) == WHITE_IS_ZERO:
        values = 255 - values
    return Image.fromarray(values.round().astype(np.uint8))
