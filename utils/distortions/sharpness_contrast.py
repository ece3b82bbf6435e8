"""Sharpness and contrast: unsharp mask, and contrast changes by a cubic spline and by a line."""

from torch import Generator, Tensor

from utils.distortions.colorspace import f_to_rgb, rgb_to_f
from utils.distortions.filtering import gaussian_blur

UNSHARP_SIGMA = 6.0
UNSHARP_SIZE = 13


def high_sharpen(image: Tensor, level: float, generator: Generator) -> Tensor:
    """Applies an unsharp mask to L of Lab: L' = L + level (L - G * L), with a and b unchanged.

    G is a 13 x 13 Gaussian with a standard deviation of 6 pixels. L = 116 f_Y - 16, and a and b are differences of f_X,
    f_Y and f_Z (see `colorspace`). So adding level (f_Y - G * f_Y) to all three f values has the same effect.
    """
    f = rgb_to_f(image)
    f += level * (f[1] - gaussian_blur(f[1:2], UNSHARP_SIGMA, UNSHARP_SIZE))
    return f_to_rgb(f)


def contrast_curve(image: Tensor, level: float, generator: Generator) -> Tensor:
    """Changes the contrast by a cubic not-a-knot spline, clamped to [0, 1].

    The spline goes through (0, 0), (0.3, 0.25 - level / 4), (0.5, 0.5), (0.7, 0.75 + level / 4) and (1, 1).

    A not-a-knot spline through five points is one cubic on each side of the middle point. The points are symmetric
    about (0.5, 0.5), so both cubics are equal to 1/2 + a t + b t^3 with t = x - 1/2. The points at x = 0.7 and x = 1
    determine a and b.
    """
    b = -(0.05 + level / 4) / 0.042
    a = 1 - b / 4
    t = image - 0.5
    return (t * (a + b * t * t)).add_(0.5).clamp_(0, 1)


def contrast_line(image: Tensor, level: float, generator: Generator) -> Tensor:
    """Changes the contrast linearly: 1/2 + 2 level (x - 1/2)."""
    return (image - 0.5).mul_(2 * level).add_(0.5)
