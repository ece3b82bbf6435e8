"""Brightness: brighten and darken along a curve, and shift of the mean."""

from torch import Generator, Tensor

from utils.distortions.colorspace import lab_to_rgb, rgb_to_lab


def brighten(image: Tensor, level: float, generator: Generator) -> Tensor:
    """Two parts of the curve on each RGB channel and one part of the curve on Lab's L."""
    lab = rgb_to_lab(image)
    lab[0] = 100 * parabola(lab[0] / 100, level)
    return (2 * parabola(image, level) + lab_to_rgb(lab)) / 3


def darken(image: Tensor, level: float, generator: Generator) -> Tensor:
    """The curve, bent downwards, on each RGB channel."""
    return parabola(image, -level)


def mean_shift(image: Tensor, level: float, generator: Generator) -> Tensor:
    """x + level."""
    return image + level


def parabola(x: Tensor, bend: float) -> Tensor:
    """The parabola through (0, 0), (1/2, 1/2 + bend / 2) and (1, 1), clamped to [0, 1]: x + 2 bend x (1 - x)."""
    return (x + 2 * bend * x * (1 - x)).clamp_(0, 1)
