"""Compression: JPEG and JPEG 2000 with Pillow's encoders. The image is truncated to 8 bits and processed on the CPU."""

import io
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Generator, Tensor

RESOLUTIONS = 8


def jpeg2000(image: Tensor, level: float, generator: Generator) -> Tensor:
    """Compresses an image by JPEG 2000 with ratio `level`, layer-first progression (LRCP) and 8 resolutions.

    OpenJPEG limits the number of resolutions for small images: fewer than 8 are used if the shorter side is below 128
    pixels.
    """
    resolutions = min(RESOLUTIONS, min(image.shape[-2:]).bit_length())
    return _encode_and_decode(
        image,
        format="JPEG2000",
        quality_mode="rates",
        quality_layers=[level],
        progression="LRCP",
        num_resolutions=resolutions,
    )


def jpeg(image: Tensor, level: float, generator: Generator) -> Tensor:
    """Compresses an image by JPEG with Pillow's quality `level`."""
    return _encode_and_decode(image, format="JPEG", quality=int(level))


def _encode_and_decode(image: Tensor, **options: Any) -> Tensor:
    channels = (255 * image).cpu().numpy().astype(np.uint8)  # NumPy converts to uint8 several times faster
    file = io.BytesIO()
    Image.merge("RGB", [Image.fromarray(channel) for channel in channels]).save(file, **options)
    with Image.open(file) as decoded:
        pixels = np.array(decoded)
    channels_first = torch.from_numpy(pixels).permute(2, 0, 1)
    return channels_first.to(image.device, image.dtype, memory_format=torch.contiguous_format).div_(255)
