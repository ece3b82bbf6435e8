"""Sharpness and contrast: unsharp mask, contrast along a cubic and along a line."""

from torch import Generator, Tensor

from utils.distortions.colorspace import f_to_rgb, rgb_to_f
from utils.distortions.filtering import gaussian_blur

UNSHARP_SIGMA = 6.0
UNSHARP_SIZE = 13


def high_sharpen(image: Tensor, level: float, generator: Generator) -> Tensor:
    """Unsharp mask on Lab's L: L + level (L - G L), G a 13 x 13 Gaussian of standard deviation 6 pixels."""
    f = rgb_to_f(image)
    f += level * (f[1] - gaussian_blur(f[1:2], UNSHARP_SIGMA, UNSHARP_SIZE))  # L is linear in f_Y; a and b stay
    return f_to_rgb(f)


def contrast_curve(image: Tensor, level: float, generator: Generator) -> Tensor:
    """The not-a-knot cubic spline through (0, 0), (.3, .25 - level/4), (.5, .5), (.7, .75 + level/4), (1, 1), clamped.

    With five knots it is one cubic on each side of .5, and by the points' symmetry about (.5, .5) both are the same odd
    cubic 1/2 + a t + b t^3 in t = x - 1/2; a and b follow from the points at .7 and 1.
    """
    b = -(0.05 + level / 4) / 0.042
    a = 1 - b / 4
    t = image - 0.5
    return (t * (a + b * t * t)).add_(0.5).clamp_(0, 1)


def contrast_line(image: Tensor, level: float, generator: Generator) -> Tensor:
    """1/2 + 2 level (x - 1/2)."""
    return (image - 0.5).mul_(2 * level).add_(0.5)
