"""Compression: JPEG and JPEG 2000, by Pillow's codecs. The image goes through the CPU as 8-bit numbers (truncated)."""

import io
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Generator, Tensor

RESOLUTIONS = 8


def jpeg2000(image: Tensor, level: float, generator: Generator) -> Tensor:
    """JPEG 2000 at the compression ratio `level`, progression by layer, 8 resolutions.

    OpenJPEG takes no more resolutions than the shorter side has halvings: below 128 pixels there are fewer.
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
    """JPEG at the quality `level`."""
    return _encode_and_decode(image, format="JPEG", quality=int(level))


def _encode_and_decode(image: Tensor, **options: Any) -> Tensor:
    channels = (255 * image).cpu().numpy().astype(np.uint8)  # NumPy converts several times quicker
    file = io.BytesIO()
    Image.merge("RGB", [Image.fromarray(channel) for channel in channels]).save(file, **options)
    with Image.open(file) as decoded:
        pixels = torch.from_numpy(np.array(decoded)).permute(2, 0, 1)
    return pixels.to(image.device, image.dtype, memory_format=torch.contiguous_format).div_(255)
