"""Brightness changes: brighten and darken with a tone curve, and shift the mean."""

import torch
from torch import Generator, Tensor

from utils.distortions.colorspace import f_to_rgb, rgb_to_f


def brighten(image: Tensor, level: float, generator: Generator) -> Tensor:
    """Brightens an image with the tone curve p, which is `parabola` with bend `level`.

    The result is (2 p(RGB) + RGB of (L', a, b)) / 3 with L' / 100 = p(L / 100). L = 116 f_Y - 16, and a and b are
    differences of f_X, f_Y and f_Z (see `colorspace`). So adding (L' - L) / 116 to all three f values changes L to L'
    and leaves a and b unchanged.
    """
    f = rgb_to_f(image)
    lightness = f[1].mul(1.16).sub_(0.16)  # L / 100
    f += (parabola(lightness, level) - lightness).div_(1.16)
    return f_to_rgb(f).add_(parabola(image, level), alpha=2).div_(3)


def darken(image: Tensor, level: float, generator: Generator) -> Tensor:
    """Darkens an image with `parabola` with bend -`level` on each RGB channel."""
    return parabola(image, -level)


def mean_shift(image: Tensor, level: float, generator: Generator) -> Tensor:
    """Adds `level` to all values."""
    return image + level


def parabola(x: Tensor, bend: float) -> Tensor:
    """Applies x (1 + 2 bend (1 - x)), clamped to [0, 1]: a parabola through (0, 0), (1/2, (1 + bend) / 2), (1, 1)."""
    return torch.rsub(x, 1).mul_(2 * bend).add_(1).mul_(x).clamp_(0, 1)
