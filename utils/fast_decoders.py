"""Decoders of the optional package imagecodecs: the same pixels as Pillow's in less time.

Each function returns None where Pillow must decode: imagecodecs is missing or broken, or the file is not an ordinary
one. So every error is Pillow's.
"""

import re
import struct
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from PIL.ImageFile import ImageFile

try:
    import imagecodecs
except Exception:  # not installed, or broken in any way
    imagecodecs = None  # type: ignore[assignment]

Pixels = npt.NDArray[np.uint8]

_FUNCTIONS = {"PNG": "png_decode", "JPEG2000": "jpeg2k_decode", "JPEG": "jpeg8_decode"}
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7]")  # in the pixels of a JPEG, only FF 00 and restart markers are none
_RGB_8_BITS_NOT_INTERLACED = bytes((8, 2, 0, 0, 0))  # the last five bytes of a PNG's header
_HARMLESS = {b"tEXt", b"tIME", b"IEND"}  # what may follow the pixels, as in files written by ImageMagick


def decode(data: Any, file_format: str, height: int, width: int) -> Pixels | None:
    """Decodes a file in memory that is 8-bit RGB of this size: H x W x 3, or None."""
    try:
        pixels = getattr(imagecodecs, _FUNCTIONS[file_format])(data)
        return pixels if pixels.shape == (height, width, 3) and pixels.dtype == np.uint8 else None
    except Exception:  # a damaged file or a broken package
        return None


def decode_opened(image: Image.Image) -> Pixels | None:
    """Decodes a PNG or JPEG file that Pillow has opened but not decoded: H x W x 3, or None.

    Only for 8-bit RGB: PNG without interlacing or animation, and JPEG with one scan. Pillow has checked everything
    before the pixels, the decoder checks the pixels, and nothing that Pillow could refuse may follow them.
    """
    if imagecodecs is None or image.format not in ("PNG", "JPEG") or image.mode != "RGB":
        return None
    if not isinstance(image, ImageFile) or image.fp is None:
        return None
    pixels_start = image.fp.tell()
    image.fp.seek(0)
    data: bytes | None = image.fp.read()
    image.fp.seek(pixels_start)
    assert data is not None
    if image.format == "PNG":
        data = _essential_chunks(data)
    elif not _ends_after_the_pixels(data, pixels_start):
        data = None
    return None if data is None else decode(data, image.format, image.height, image.width)


def _ends_after_the_pixels(jpeg: bytes, pixels_start: int) -> bool:
    """True if only the end marker follows the first scan. libjpeg accepts damaged later parts that Pillow refuses."""
    marker = _MARKER.search(jpeg, pixels_start)
    return marker is not None and marker.group() == b"\xff\xd9" and marker.end() == len(jpeg)


def _essential_chunks(data: bytes) -> bytes | None:
    """A PNG's header and pixels without its other chunks, some of which make libpng print warnings; or None."""
    chunks: list[tuple[bytes, bytes]] = []
    start = 8
    while not chunks or chunks[-1][0] != b"IEND":
        if start + 12 > len(data):
            return None
        length, kind = struct.unpack_from(">I4s", data, start)
        chunks.append((kind, data[start : start + length + 12]))
        start += length + 12
    kinds = [kind for kind, _ in chunks]
    if b"IDAT" not in kinds:
        return None
    first = kinds.index(b"IDAT")
    last = first + kinds.count(b"IDAT")
    in_one_piece = set(kinds[first:last]) == {b"IDAT"} and set(kinds[last:]) <= _HARMLESS
    if not in_one_piece or data[24:29] != _RGB_8_BITS_NOT_INTERLACED:
        return None
    return data[:8] + b"".join(chunk for kind, chunk in chunks if kind in (b"IHDR", b"IDAT", b"IEND"))
