"""Decoders of the optional package imagecodecs: the same pixels as Pillow's in less time.

Each function returns None where Pillow must decode: imagecodecs is missing or broken, or the file is not an ordinary
one. So every error is Pillow's.
"""

import struct
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from PIL.PngImagePlugin import PngImageFile

try:
    import imagecodecs
except Exception:  # not installed, or broken in any way
    imagecodecs = None

Pixels = npt.NDArray[np.uint8]

_FUNCTIONS = {"PNG": "png_decode", "JPEG2000": "jpeg2k_decode", "JPEG": "jpeg8_decode"}
_RGB_8_BITS_NOT_INTERLACED = bytes((8, 2, 0, 0, 0))  # the last five bytes of a PNG's header
_HARMLESS = {b"tEXt", b"tIME", b"IEND"}  # what may follow the pixels, as in files written by ImageMagick


def decode(data: Any, file_format: str, height: int, width: int) -> Pixels | None:
    """Decodes a file in memory that is known to be undamaged, RGB and height x width: H x W x 3, or None."""
    try:
        pixels = getattr(imagecodecs, _FUNCTIONS[file_format])(data)
        return pixels if pixels.shape == (height, width, 3) and pixels.dtype == np.uint8 else None
    except Exception:  # damaged file or broken package; Pillow decides
        return None


def decode_png(image: Image.Image) -> Pixels | None:
    """Decodes a PNG file that Pillow has opened but not decoded: H x W x 3, or None.

    Only for 8-bit RGB without interlacing or animation. Pillow has checked everything before the pixels, libpng checks
    the pixels, and nothing that Pillow could refuse may follow them.
    """
    if imagecodecs is None or not isinstance(image, PngImageFile) or image.mode != "RGB" or image.fp is None:
        return None
    position = image.fp.tell()
    image.fp.seek(0)
    data = _essential_chunks(image.fp.read())
    image.fp.seek(position)
    return None if data is None else decode(data, "PNG", image.height, image.width)


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
    in_one_piece = set(kinds[first:last]) == {b"IDAT"} and set(kinds[last:]) <= _HARMLESS and start <= len(data)
    if not in_one_piece or b"acTL" in kinds or data[24:29] != _RGB_8_BITS_NOT_INTERLACED:
        return None
    return data[:8] + b"".join(chunk for kind, chunk in chunks if kind in (b"IHDR", b"IDAT", b"IEND"))
