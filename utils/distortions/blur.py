"""Blur: Gaussian, lens (disk) and motion."""

import math

import torch
from torch import Generator, Tensor

from utils.distortions import draws
from utils.distortions.filtering import filter2d, gaussian_blur


def gaussian(image: Tensor, level: float, generator: Generator) -> Tensor:
    """Applies a Gaussian blur with a standard deviation of `level` pixels."""
    return gaussian_blur(image, level)


def lens(image: Tensor, level: float, generator: Generator) -> Tensor:
    """Averages over a disk with a radius of `level` pixels."""
    return filter2d(image, disk_kernel(level))


def motion(image: Tensor, level: float, generator: Generator, angle: float | None = None) -> Tensor:
    """Averages along a line of `level` pixels at `angle` degrees (default: a random integer, uniform in 0..180)."""
    if angle is None:
        angle = int(draws.integers(0, 180, 1, generator))
    return filter2d(image, motion_kernel(level, angle))


def disk_kernel(radius: float) -> Tensor:
    """Returns the kernel of a uniform disk, like MATLAB's `fspecial('disk', radius)`.

    Each weight is the exact area of its pixel inside the disk, normalised to sum 1. The area comes from `_corner_area`
    at the pixel's four corners.

    Returns:
        Float64 square kernel with an odd side of 2 ceil(radius - 1/2) + 1.
    """
    half = math.ceil(radius - 0.5)
    edges = torch.arange(-half, half + 2, dtype=torch.float64) - 0.5
    corner = _corner_area(edges[:, None], edges[None, :], radius)
    area = corner[1:, 1:] - corner[:-1, 1:] - corner[1:, :-1] + corner[:-1, :-1]
    return area / area.sum()


def _corner_area(x: Tensor, y: Tensor, r: float) -> Tensor:
    """Returns the area of the intersection of the disk of radius r and the rectangle from (0, 0) to (x, y).

    The area has the sign of x y.
    """
    sign = x.sign() * y.sign()
    x, y = x.abs().clamp(max=r), y.abs().clamp(max=r)
    # The upper limit of the area is the rectangle's edge y up to x0, and the circle from x0 to x.
    x0 = torch.minimum(x, (r**2 - y**2).sqrt())
    return sign * (x0 * y + _under_circle(x, r) - _under_circle(x0, r))


def _under_circle(u: Tensor, r: float) -> Tensor:
    """Returns the integral of sqrt(r^2 - t^2) from 0 to u, for u in 0..r."""
    return (u * (r**2 - u**2).clamp(min=0).sqrt() + r**2 * torch.asin((u / r).clamp(max=1))) / 2


def motion_kernel(length: float, angle: float) -> Tensor:
    """Returns the kernel of a line segment through the centre, like MATLAB's `fspecial('motion', length, angle)`.

    Each weight is max(0, 1 - d), with d the distance in pixels between the pixel's centre and the segment; the weights
    are normalised to sum 1.

    Args:
        length: length of the segment in pixels.
        angle: angle in degrees, counter-clockwise from the horizontal.

    Returns:
        Float64 kernel with odd sides.
    """
    half = (max(1.0, length) - 1) / 2
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    columns, rows = math.ceil(half * abs(cos)), math.ceil(half * abs(sin))
    x = torch.arange(-columns, columns + 1, dtype=torch.float64)[None, :]
    y = -torch.arange(-rows, rows + 1, dtype=torch.float64)[:, None]
    along, across = x * cos + y * sin, y * cos - x * sin
    # As in MATLAB, d is the distance to the nearer end point for all pixels outside the circle through both end points.
    beyond = torch.where(x**2 + y**2 >= half**2, half - along.abs(), 0.0)
    kernel = (1 - torch.hypot(across, beyond)).clamp(min=0)
    return kernel / kernel.sum()
