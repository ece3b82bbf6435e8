"""Reads training images; the optional package imagecodecs decodes PNG files faster, with Pillow's pixels."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from models.image_file import open_image
from models.preprocess import to_pixels

try:
    import imagecodecs
except Exception:  # not installed, or broken in any way
    imagecodecs = None  # type: ignore[assignment]

SIGNATURE = b"\x89PNG\r\n\x1a\n"
EIGHT_BIT_RGB = bytes((8, 2, 0, 0, 0))  # end of a header: bit depth, colour type, and no interlacing
# Chunks that change the pixels that Pillow returns.
SPECIAL = (b"tRNS", b"acTL")


def read_pixels(path: Path, truncated: list[str] | None = None) -> Tensor:
    """Reads an image file as 3 x H x W uint8; `truncated` is as for `open_image`.

    Raises:
        ImageError: see `open_image`.
    """
    pixels = decode_png(path)
    return to_pixels(open_image(path, truncated)) if pixels is None else torch.from_numpy(pixels).permute(2, 0, 1)


def decode_png(path: Path) -> npt.NDArray[np.uint8] | None:
    """Decodes a PNG file to H x W x 3; returns None if Pillow must decode it.

    Pillow must decode if imagecodecs is missing, or the file is damaged or not an ordinary 8-bit RGB image.
    """
    if imagecodecs is None or path.suffix.lower() != ".png":
        return None
    try:
        data = path.read_bytes()
        header = data[: data.find(b"IDAT")]
        if header[:8] != SIGNATURE or header[24:29] != EIGHT_BIT_RGB or any(name in header for name in SPECIAL):
            return None
        pixels = imagecodecs.spng_decode(data)
    except Exception:  # a damaged file or a broken package
        return None
    return pixels if pixels.ndim == 3 and pixels.shape[2] == 3 and pixels.dtype == np.uint8 else None
