"""Colour distortion: diffusion, shift and saturation (in HSV and in Lab)."""

import math

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from utils.distortions import draws
from utils.distortions.colorspace import f_to_rgb, grey, rgb_to_f, trunc8
from utils.distortions.filtering import gaussian_blur

EDGE_SIGMA = 4.0


def diffusion(image: Tensor, level: float, generator: Generator) -> Tensor:
    """Lab's a and b, blurred by a Gaussian of sigma 1.5 level + 2 pixels, times `level`; as 8-bit numbers."""
    f = rgb_to_f(image)
    a, b = gaussian_blur(f[::2] - f[1], 1.5 * level + 2)  # Lab's a and -b, up to factors
    f[0] = torch.add(f[1], a, alpha=level)
    f[2] = torch.add(f[1], b, alpha=level)
    return trunc8(f_to_rgb(f))


def shift(image: Tensor, level: float, generator: Generator) -> Tensor:
    """Green moved right and down by round(level u / |u|) pixels, u uniform in [0, 1]^2, blended in along edges."""
    u = 1 - draws.uniform((2,), generator, torch.empty(0))  # in (0, 1], so that |u| > 0
    right, down = (level * u / u.norm()).round().int().tolist()
    green = image[1]
    height, width = green.shape
    rows = torch.arange(-down, height - down, device=image.device).clamp_(0, height - 1)
    columns = torch.arange(-right, width - right, device=image.device).clamp_(0, width - 1)
    shifted = green.index_select(0, rows).index_select(1, columns)
    return torch.stack([image[0], torch.lerp(green, shifted, edge_map(image)), image[2]])


def edge_map(image: Tensor) -> Tensor:
    """3 x H x W in [0, 1] -> H x W, the edges: the grey image's gradient magnitude, smoothed and scaled to [0, 1].

    Values outside the 1st to 99th percentile are clamped to it; an image without a gradient has 0 everywhere.
    """
    luma = grey(image)
    padded = F.pad(luma[None, None], (1, 1, 1, 1), mode="replicate")[0, 0]
    dx = (padded[1:-1, 2:] - padded[1:-1, :-2]) / 2
    dy = (padded[2:, 1:-1] - padded[:-2, 1:-1]) / 2
    magnitude = gaussian_blur(torch.hypot(dx, dy)[None], EDGE_SIGMA)[0]
    low, high = magnitude.aminmax()
    if high == low:  # a constant image has no edges
        return torch.zeros_like(magnitude)
    edges = (magnitude - low) / (high - low)
    lowest = _low_percentile(edges, 0.01)
    highest = -_low_percentile(-edges, 0.01)
    return edges.clamp_(lowest, highest)


def _low_percentile(values: Tensor, share: float) -> Tensor:
    """`torch.quantile` for a small share: only that part of the values is sorted, which takes most of its time."""
    position = share * (values.numel() - 1)
    below = int(position)
    first = _smallest(values.flatten(), min(below + 2, values.numel()))
    return torch.lerp(first[below], first[-1], position - below)


def _smallest(values: Tensor, count: int) -> Tensor:
    """The `count` smallest of N values, in order.

    In columns of 8, they are among the `count` columns of the smallest minima: each column left out has a minimum no
    smaller than `count` others.
    """
    columns = F.pad(values, (0, -len(values) % 8), value=math.inf).view(8, -1)
    minima = columns.amin(0).topk(min(count, columns.shape[1]), largest=False, sorted=False)
    return columns.index_select(1, minima.indices).flatten().topk(count, largest=False).values


def saturation_hsv(image: Tensor, level: float, generator: Generator) -> Tensor:
    """HSV saturation times `level`.

    A channel is v (1 - s k), with value v, saturation s and a k that depends on the hue only: its distance from v, the
    largest of the three, is multiplied by `level`, and no conversion is needed.
    """
    value = image.amax(0)
    return torch.lerp(value, image, level)


def saturation_lab(image: Tensor, level: float, generator: Generator) -> Tensor:
    """Lab's a and b times `level`; as 8-bit numbers."""
    f = rgb_to_f(image)
    f[::2].sub_(f[1]).mul_(level).add_(f[1])  # a is 500 (f_X - f_Y), b is 200 (f_Y - f_Z)
    return trunc8(f_to_rgb(f))
