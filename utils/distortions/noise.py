"""Noise: white (in RGB and in YCbCr), impulse and multiplicative."""

import math

import torch
from torch import Generator, Tensor

from utils.distortions import draws

# Full-range BT.601: R = Y + 1.402 Cr, G = Y - 0.344136 Cb - 0.714136 Cr, B = Y + 1.772 Cb
_YCBCR_TO_RGB = torch.tensor([[1, 0, 1.402], [1, -0.344136, -0.714136], [1, 1.772, 0]], dtype=torch.float64)


def white(image: Tensor, level: float, generator: Generator) -> Tensor:
    """Adds Gaussian noise with variance `level`."""
    return torch.add(image, draws.normal(tuple(image.shape), generator, image), alpha=math.sqrt(level))


def white_ycbcr(image: Tensor, level: float, generator: Generator) -> Tensor:
    """Adds Gaussian noise with variance `level` in each of Y, Cb and Cr.

    The conversion to RGB is linear, so only the noise is converted and then added to the RGB image.
    """
    noise = draws.normal((3, image[0].numel()), generator, image).mul_(math.sqrt(level))
    return image + (_YCBCR_TO_RGB.to(image) @ noise).view_as(image)


def impulse(image: Tensor, level: float, generator: Generator) -> Tensor:
    """Sets floor(level 3 H W) random single-channel values (with replacement): the first half to 1, the rest to 0."""
    count = int(level * image.numel())
    positions = draws.integers(0, image.numel() - 1, count, generator).to(image.device)
    noisy = image.flatten().clone()
    noisy[positions[: count // 2]] = 1
    noisy[positions[count // 2 :]] = 0
    return noisy.view(image.shape)


def multiplicative(image: Tensor, level: float, generator: Generator) -> Tensor:
    """Adds multiplicative noise: x + x n, with n Gaussian noise of variance `level`."""
    return torch.addcmul(image, image, draws.normal(tuple(image.shape), generator, image), value=math.sqrt(level))
