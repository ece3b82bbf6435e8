"""Brightness: brighten and darken along a curve, and shift of the mean."""

import torch
from torch import Generator, Tensor

from utils.distortions.colorspace import f_to_rgb, rgb_to_f


def brighten(image: Tensor, level: float, generator: Generator) -> Tensor:
    """Two parts of the curve on each RGB channel and one part of the curve on Lab's L."""
    f = rgb_to_f(image)
    lightness = f[1].mul(1.16).sub_(0.16)  # L / 100
    f += (parabola(lightness, level) - lightness).div_(1.16)  # a and b are differences of f, and stay
    return f_to_rgb(f).add_(parabola(image, level), alpha=2).div_(3)


def darken(image: Tensor, level: float, generator: Generator) -> Tensor:
    """The curve, bent downwards, on each RGB channel."""
    return parabola(image, -level)


def mean_shift(image: Tensor, level: float, generator: Generator) -> Tensor:
    """x + level."""
    return image + level


def parabola(x: Tensor, bend: float) -> Tensor:
    """The parabola through (0, 0), (1/2, 1/2 + bend / 2) and (1, 1), clamped to [0, 1]: x (1 + 2 bend (1 - x))."""
    return torch.rsub(x, 1).mul_(2 * bend).add_(1).mul_(x).clamp_(0, 1)
