"""Blur: Gaussian, lens (disk) and motion."""

import math

import torch
from torch import Generator, Tensor

from utils.distortions import draws
from utils.distortions.filtering import filter2d, gaussian_blur


def gaussian(image: Tensor, level: float, generator: Generator) -> Tensor:
    """Gaussian blur of standard deviation `level` pixels."""
    return gaussian_blur(image, level)


def lens(image: Tensor, level: float, generator: Generator) -> Tensor:
    """Mean over a disk of radius `level` pixels."""
    return filter2d(image, disk_kernel(level))


def motion(image: Tensor, level: float, generator: Generator, angle: float | None = None) -> Tensor:
    """Mean along a line of `level` pixels; its angle in degrees is a uniform integer in 0..180 if not given."""
    if angle is None:
        angle = int(draws.integers(0, 180, 1, generator))
    return filter2d(image, motion_kernel(level, angle))


def disk_kernel(radius: float) -> Tensor:
    """A uniform disk, sum 1: each weight is the exact area of its pixel inside the disk (MATLAB's `fspecial('disk')`).

    Returns:
        Float64, odd sides of 2 ceil(radius - 1/2) + 1.
    """
    half = math.ceil(radius - 0.5)
    edges = torch.arange(-half, half + 2, dtype=torch.float64) - 0.5
    corner = _corner_area(edges[:, None], edges[None, :], radius)
    area = corner[1:, 1:] - corner[:-1, 1:] - corner[1:, :-1] + corner[:-1, :-1]
    return area / area.sum()


def _corner_area(x: Tensor, y: Tensor, r: float) -> Tensor:
    """Area of the disk of radius r inside the rectangle with opposite corners (0, 0) and (x, y), signed as x y is."""
    sign = x.sign() * y.sign()
    x, y = x.abs().clamp(max=r), y.abs().clamp(max=r)
    # The rectangle's top leaves the disk at x0; beyond it the circle is the upper bound.
    x0 = torch.minimum(x, (r**2 - y**2).sqrt())
    return sign * (x0 * y + _under_circle(x, r) - _under_circle(x0, r))


def _under_circle(u: Tensor, r: float) -> Tensor:
    """Integral of sqrt(r^2 - t^2) from 0 to u, for u in 0..r."""
    return (u * (r**2 - u**2).clamp(min=0).sqrt() + r**2 * torch.asin((u / r).clamp(max=1))) / 2


def motion_kernel(length: float, angle: float) -> Tensor:
    """A line `length` pixels long at `angle` degrees, counter-clockwise from the horizontal.

    It is MATLAB's `fspecial('motion', length, angle)`.
    A weight is 1 less the pixel's distance from the line segment, where that is positive; the sum is 1.

    Returns:
        Float64, odd sides.
    """
    half = (max(1.0, length) - 1) / 2
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    columns, rows = math.ceil(half * abs(cos)), math.ceil(half * abs(sin))
    x = torch.arange(-columns, columns + 1, dtype=torch.float64)[None, :]
    y = -torch.arange(-rows, rows + 1, dtype=torch.float64)[:, None]
    along, across = x * cos + y * sin, y * cos - x * sin
    # MATLAB measures to the segment's end from all pixels outside the circle through both ends.
    beyond = torch.where(x**2 + y**2 >= half**2, half - along.abs(), 0.0)
    kernel = (1 - torch.hypot(across, beyond)).clamp(min=0)
    return kernel / kernel.sum()
