"""Colour distortions: diffusion, shift, and saturation in HSV and Lab."""

import math

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from utils.distortions import draws
from utils.distortions.colorspace import f_to_rgb, grey, rgb_to_f, trunc8
from utils.distortions.filtering import gaussian_blur

EDGE_SIGMA = 4.0


def diffusion(image: Tensor, level: float, generator: Generator) -> Tensor:
    """Blurs and amplifies Lab's colour channels: a' = level (G * a), b' = level (G * b), truncated to 8 bits.

    L is unchanged, and G is a Gaussian with a standard deviation of 1.5 level + 2 pixels. With a = 500 (f_X - f_Y) and
    b = 200 (f_Y - f_Z) (see `colorspace`), this is f_X' = f_Y + level (G * (f_X - f_Y)), and likewise for f_Z.
    """
    f = rgb_to_f(image)
    a, b = gaussian_blur(f[::2] - f[1], 1.5 * level + 2)  # proportional to a and -b
    f[0] = torch.add(f[1], a, alpha=level)
    f[2] = torch.add(f[1], b, alpha=level)
    return trunc8(f_to_rgb(f))


def shift(image: Tensor, level: float, generator: Generator) -> Tensor:
    """Shifts green and blends it in along edges: green' = (1 - e) green + e shifted, with e the `edge_map`.

    The shift is round(level u / |u|) pixels to the right and down, with u uniform in [0, 1]^2. Borders are replicated.
    """
    u = 1 - draws.uniform((2,), generator, torch.empty(0))  # in (0, 1], so that |u| > 0
    right, down = (level * u / u.norm()).round().int().tolist()
    green = image[1]
    height, width = green.shape
    rows = torch.arange(-down, height - down, device=image.device).clamp_(0, height - 1)
    columns = torch.arange(-right, width - right, device=image.device).clamp_(0, width - 1)
    shifted = green.index_select(0, rows).index_select(1, columns)
    return torch.stack([image[0], torch.lerp(green, shifted, edge_map(image)), image[2]])


def edge_map(image: Tensor) -> Tensor:
    """Computes the edge strength in [0, 1]: 3 x H x W in [0, 1] -> H x W.

    The gradient magnitude of the grey image is smoothed (Gaussian, standard deviation 4 pixels), scaled to [0, 1] and
    clamped to its 1st and 99th percentiles. The result is 0 everywhere if the smoothed magnitude is constant.
    """
    luma = grey(image)
    padded = F.pad(luma[None, None], (1, 1, 1, 1), mode="replicate")[0, 0]
    dx = (padded[1:-1, 2:] - padded[1:-1, :-2]) / 2
    dy = (padded[2:, 1:-1] - padded[:-2, 1:-1]) / 2
    magnitude = gaussian_blur(torch.hypot(dx, dy)[None], EDGE_SIGMA)[0]
    low, high = magnitude.aminmax()
    if high == low:
        return torch.zeros_like(magnitude)
    edges = (magnitude - low) / (high - low)
    lowest = _low_percentile(edges, 0.01)
    highest = -_low_percentile(-edges, 0.01)
    return edges.clamp_(lowest, highest)


def _low_percentile(values: Tensor, share: float) -> Tensor:
    """Computes `torch.quantile(values, share)`, faster for a small share: only the smallest values are sorted."""
    position = share * (values.numel() - 1)
    below = int(position)
    first = _smallest(values.flatten(), min(below + 2, values.numel()))
    return torch.lerp(first[below], first[-1], position - below)


def _smallest(values: Tensor, count: int) -> Tensor:
    """Returns the `count` smallest of N values, in ascending order.

    The values are arranged in columns of 8, and only the `count` columns with the smallest minima are searched. This is
    sufficient, because every value in the other columns is at least as large as these `count` minima.
    """
    columns = F.pad(values, (0, -len(values) % 8), value=math.inf).view(8, -1)
    minima = columns.amin(0).topk(min(count, columns.shape[1]), largest=False, sorted=False)
    return columns.index_select(1, minima.indices).flatten().topk(count, largest=False).values


def saturation_hsv(image: Tensor, level: float, generator: Generator) -> Tensor:
    """Multiplies the HSV saturation: s' = level s, with hue and value unchanged.

    Each RGB channel equals v (1 - s k), with the value v = max(R, G, B), the saturation s, and a factor k that depends
    only on the hue. So scaling s means channel' = v + level (channel - v), and no conversion to HSV is needed.
    """
    value = image.amax(0)
    return torch.lerp(value, image, level)


def saturation_lab(image: Tensor, level: float, generator: Generator) -> Tensor:
    """Multiplies Lab's a and b by `level`, with L unchanged; truncated to 8 bits.

    With a = 500 (f_X - f_Y) and b = 200 (f_Y - f_Z) (see `colorspace`), this is f_X' = f_Y + level (f_X - f_Y), and
    likewise for f_Z.
    """
    f = rgb_to_f(image)
    f[::2].sub_(f[1]).mul_(level).add_(f[1])
    return trunc8(f_to_rgb(f))
