"""Spatial distortions: jitter, displaced patches, pixelation, quantisation and colour blocks."""

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from utils.distortions import draws

JITTER_ROUNDS = 5
PATCH = 16  # side of a displaced patch in pixels
MARGIN = 16  # smallest distance in pixels between the original patch and the image border
REACH = 8  # largest displacement in pixels along each axis
BLOCK = 32  # side of a colour block in pixels


def jitter(image: Tensor, level: float, generator: Generator) -> Tensor:
    """Moves every pixel by N(0, level^2) pixels in x and in y, in five rounds (bilinear, replicated border)."""
    height, width = image.shape[-2:]
    # grid_sample coordinates: -1 and 1 are the outer edges of the border pixels (align_corners=False).
    pixel = torch.tensor([2 / width, 2 / height]).to(image)
    y = torch.arange(height, device=image.device, dtype=image.dtype)
    x = torch.arange(width, device=image.device, dtype=image.dtype)
    centres = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1).add_(0.5).mul_(pixel).sub_(1)
    step = (level * pixel).expand(height, width, 2).contiguous()  # several times faster than broadcasting 2 values
    moved = image[None]
    for _ in range(JITTER_ROUNDS):
        grid = draws.normal((height, width, 2), generator, image).mul_(step).add_(centres)
        moved = F.grid_sample(moved, grid[None], mode="bilinear", padding_mode="border", align_corners=False)
    return moved[0]


def displaced_patches(image: Tensor, level: float, generator: Generator) -> Tensor:
    """Copies a random 16 x 16 patch to a position up to 8 pixels away along each axis; repeated `level` times.

    On each axis, the patch starts at s = 16 + round(u (side - 48)) and its copy at round(s + 16 (v - 0.5)), with u and
    v uniform in [0, 1). On sides shorter than 48 pixels, s is 16. Both positions are clamped to the image.
    """
    height, width = image.shape[-2:]
    result = image.clone()
    for u_y, v_y, u_x, v_x in draws.fractions((int(level), 4), generator):
        y, to_y = _start_and_target(height, u_y, v_y)
        x, to_x = _start_and_target(width, u_x, v_x)
        # clone: source and target may overlap.
        result[:, to_y : to_y + PATCH, to_x : to_x + PATCH] = result[:, y : y + PATCH, x : x + PATCH].clone()
    return result


def _start_and_target(side: int, u: float, v: float) -> tuple[int, int]:
    last = max(0, side - PATCH)
    start = min(MARGIN + round(u * max(0, side - PATCH - 2 * MARGIN)), last)
    return start, min(max(round(start + 2 * REACH * (v - 0.5)), 0), last)


def pixelate(image: Tensor, level: float, generator: Generator) -> Tensor:
    """Resizes an image by the factor 0.95 - level^0.6 and back to the original size (nearest neighbour)."""
    scale = 0.95 - level**0.6
    rows, columns = (_there_and_back(side, scale).to(image.device) for side in image.shape[-2:])
    return image.index_select(1, rows).index_select(2, columns)


def _there_and_back(side: int, scale: float) -> Tensor:
    """Returns the source index of each pixel along one side after both resizes.

    Output pixel i of a nearest-neighbour resize copies input pixel floor(i * input_side / output_side).
    """
    small = max(1, int(side * scale))
    down = torch.arange(small) * side // small
    return down[torch.arange(side) * small // side]


def quantize(image: Tensor, level: float, generator: Generator) -> Tensor:
    """Replaces each value by its bin number, then scales the bin numbers of the whole image to [0, 1] (min-max).

    There are `level` equal bins over [0, 255], each including its right edge. The thresholds are 0, the inner bin edges
    truncated to integers, and 256. If all values are in one bin, the image is returned unchanged.
    """
    inner = torch.linspace(0, 255, int(level) + 1, dtype=torch.float64)[1:-1]
    thresholds = torch.cat([inner.new_tensor([0]), inner.trunc(), inner.new_tensor([256])])
    # The thresholds are integers, so v and ceil(v) are in the same bin: a lookup table for 0..255 is enough.
    table = torch.bucketize(torch.arange(256), thresholds).to(image)
    bins = table.index_select(0, (255 * image).ceil_().int().flatten()).view_as(image)
    low, high = bins.aminmax()
    if low == high:
        return image.clone()
    return bins.sub_(low).div_(high - low)


def color_blocks(image: Tensor, level: float, generator: Generator) -> Tensor:
    """Draws `level` blocks, each in one uniform random colour, at floor(u (side - 32)) on each axis, u in [0, 1).

    A block has 32 x 32 pixels, or the image's side where that is shorter.
    """
    height, width = image.shape[-2:]
    positions = draws.fractions((int(level), 2), generator)
    colors = draws.uniform((int(level), 3, 1, 1), generator, image)
    result = image.clone()
    for (u, v), color in zip(positions, colors, strict=True):
        y, x = int(u * max(0, height - BLOCK)), int(v * max(0, width - BLOCK))
        result[:, y : y + BLOCK, x : x + BLOCK] = color
    return result
