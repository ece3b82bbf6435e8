"""Spatial distortion: jitter, patches and blocks out of place, pixelation, quantisation."""

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from utils.distortions import draws

JITTER_ROUNDS = 5
PATCH = 16
MARGIN = 16
REACH = 8
BLOCK = 32


def jitter(image: Tensor, level: float, generator: Generator) -> Tensor:
    """Five rounds in which every pixel is moved by N(0, level^2) pixels in x and in y, bilinear, border replicated."""
    height, width = image.shape[-2:]
    # Coordinates of grid_sample run from -1 to 1 between the outer edges of the outer pixels.
    pixel = torch.tensor([2 / width, 2 / height]).to(image)
    y = torch.arange(height, device=image.device, dtype=image.dtype)
    x = torch.arange(width, device=image.device, dtype=image.dtype)
    centres = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1).add_(0.5).mul_(pixel).sub_(1)
    step = (level * pixel).expand(height, width, 2).contiguous()  # of 2 values, it would take several times longer
    moved = image[None]
    for _ in range(JITTER_ROUNDS):
        grid = draws.normal((height, width, 2), generator, image).mul_(step).add_(centres)
        moved = F.grid_sample(moved, grid[None], mode="bilinear", padding_mode="border", align_corners=False)
    return moved[0]


def displaced_patches(image: Tensor, level: float, generator: Generator) -> Tensor:
    """`level` times, a 16 x 16 patch is copied up to 8 pixels away in each direction.

    It starts uniformly in [16, H - 32] x [16, W - 32]. Where a side is under 48 pixels that is its middle, and the copy
    stays inside the image; under 16 pixels the patch is as long as the side.
    """
    (h, top), (w, left) = (_patch_and_margin(side) for side in image.shape[-2:])
    height, width = image.shape[-2:]
    count = int(level)
    starts_y = draws.integers(top, height - h - top, count, generator).tolist()
    starts_x = draws.integers(left, width - w - left, count, generator).tolist()
    moves = draws.integers(-REACH, REACH, 2 * count, generator).tolist()
    result = image.clone()
    for y, x, dy, dx in zip(starts_y, starts_x, moves[:count], moves[count:], strict=True):
        to_y = min(max(y + dy, 0), height - h)
        to_x = min(max(x + dx, 0), width - w)
        # Cloned, for source and target may overlap.
        result[:, to_y : to_y + h, to_x : to_x + w] = result[:, y : y + h, x : x + w].clone()
    return result


def _patch_and_margin(side: int) -> tuple[int, int]:
    patch = min(PATCH, side)
    return patch, min(MARGIN, (side - patch) // 2)


def pixelate(image: Tensor, level: float, generator: Generator) -> Tensor:
    """Nearest-neighbour resize by 0.95 - level^0.6 and back."""
    scale = 0.95 - level**0.6
    rows, columns = (_there_and_back(side, scale).to(image.device) for side in image.shape[-2:])
    return image.index_select(1, rows).index_select(2, columns)


def _there_and_back(side: int, scale: float) -> Tensor:
    """For each pixel of a side, the one it shows after nearest-neighbour (floor(i in / out)) resizing both ways."""
    small = max(1, int(side * scale))
    down = torch.arange(small) * side // small
    return down[torch.arange(side) * small // side]


def quantize(image: Tensor, level: float, generator: Generator) -> Tensor:
    """Each value to the number of its bin, then min-max of the whole image to [0, 1].

    The `level` equal bins lie over [0, 255], right-closed; thresholds are 0, their inner edges and 256, truncated to
    integers. An image with all its values in one bin has no range to stretch and is returned as it is.
    """
    inner = torch.linspace(0, 255, int(level) + 1, dtype=torch.float64)[1:-1]
    thresholds = torch.cat([inner.new_tensor([0]), inner.trunc(), inner.new_tensor([256])])
    # With whole thresholds, v lies over one exactly where ceil(v) does: a table for 0..255 says the bin.
    table = torch.bucketize(torch.arange(256), thresholds).to(image)
    bins = table.index_select(0, (255 * image).ceil_().int().flatten()).view_as(image)
    low, high = bins.aminmax()
    if low == high:
        return image.clone()
    return bins.sub_(low).div_(high - low)


def color_blocks(image: Tensor, level: float, generator: Generator) -> Tensor:
    """`level` blocks of 32 x 32 pixels (at most the sides), each one uniform random colour, at uniform positions."""
    height, width = image.shape[-2:]
    h, w, count = min(BLOCK, height), min(BLOCK, width), int(level)
    ys = draws.integers(0, height - h, count, generator).tolist()
    xs = draws.integers(0, width - w, count, generator).tolist()
    colors = draws.uniform((count, 3, 1, 1), generator, image)
    result = image.clone()
    for y, x, color in zip(ys, xs, colors, strict=True):
        result[:, y : y + h, x : x + w] = color
    return result
