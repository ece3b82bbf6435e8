"""Colour distortion: diffusion, shift and saturation (in HSV and in Lab)."""

import torch
from torch import Generator, Tensor

from utils.distortions import draws
from utils.distortions.colorspace import grey, lab_to_rgb, rgb_to_lab, trunc8
from utils.distortions.filtering import gaussian_blur

EDGE_SIGMA = 4.0


def diffusion(image: Tensor, level: float, generator: Generator) -> Tensor:
    """Lab's a and b, blurred by a Gaussian of sigma 1.5 level + 2 pixels, times `level`; as 8-bit numbers."""
    lab = rgb_to_lab(image)
    lab[1:] = gaussian_blur(lab[1:], 1.5 * level + 2).mul_(level)
    return trunc8(lab_to_rgb(lab))


def shift(image: Tensor, level: float, generator: Generator) -> Tensor:
    """Green moved right and down by round(level u / |u|) pixels, u uniform in [0, 1]^2, blended in along edges."""
    u = 1 - draws.uniform((2,), generator, torch.empty(0))  # in (0, 1], so that |u| > 0
    right, down = (level * u / u.norm()).round().int().tolist()
    green = image[1]
    height, width = green.shape
    rows = torch.arange(-down, height - down, device=image.device).clamp_(min=0)
    columns = torch.arange(-right, width - right, device=image.device).clamp_(min=0)
    shifted = green[rows.clamp_(max=height - 1)][:, columns.clamp_(max=width - 1)]
    return torch.stack([image[0], torch.lerp(green, shifted, _edges(image)), image[2]])


def _edges(image: Tensor) -> Tensor:
    """H x W map of the edges: smoothed gradient magnitude of the grey image, scaled to [0, 1], without its tails."""
    luma = grey(image)
    padded = torch.nn.functional.pad(luma[None, None], (1, 1, 1, 1), mode="replicate")[0, 0]
    dx = (padded[1:-1, 2:] - padded[1:-1, :-2]) / 2
    dy = (padded[2:, 1:-1] - padded[:-2, 1:-1]) / 2
    magnitude = gaussian_blur(torch.hypot(dx, dy)[None], EDGE_SIGMA)[0]
    low, high = magnitude.aminmax()
    if high == low:  # a constant image has no edges
        return torch.zeros_like(magnitude)
    edges = (magnitude - low) / (high - low)
    p1, p99 = torch.quantile(edges.flatten(), edges.new_tensor([0.01, 0.99]))
    return edges.clamp(p1, p99)


def saturation_hsv(image: Tensor, level: float, generator: Generator) -> Tensor:
    """HSV saturation times `level`.

    A channel is v (1 - s k), with value v, saturation s and a k that depends on the hue only: its distance from v, the
    largest of the three, is multiplied by `level`, and no conversion is needed.
    """
    value = image.amax(0)
    return torch.lerp(value, image, level)


def saturation_lab(image: Tensor, level: float, generator: Generator) -> Tensor:
    """Lab's a and b times `level`; as 8-bit numbers."""
    lab = rgb_to_lab(image)
    lab[1:] *= level
    return trunc8(lab_to_rgb(lab))
