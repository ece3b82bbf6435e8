"""Linear filters with replicated borders. All kernels are symmetric, so correlation and convolution are the same."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

# 1-D kernels with at most this many taps use shifted adds; longer kernels use products with a banded matrix.
MAX_SHIFTS = 11
# Rows or columns per matrix product: small because the band is sparse, large enough for BLAS.
BLOCK = 32
# 2-D kernels with at most this many non-zero taps use shifted adds, others the FFT.
MAX_TAPS = 30


def gaussian_kernel(sigma: float, size: int | None = None) -> Tensor:
    """Returns a 1-D Gaussian kernel exp(-x^2 / (2 sigma^2)), normalised to sum 1, float64.

    Args:
        sigma: standard deviation in pixels.
        size: number of taps, odd; default 2 ceil(2 sigma) + 1.
    """
    if size is None:
        size = 2 * math.ceil(2 * sigma) + 1
    x = torch.arange(size, dtype=torch.float64) - size // 2
    kernel = torch.exp(-(x**2) / (2 * sigma**2))
    return kernel / kernel.sum()


def gaussian_blur(image: Tensor, sigma: float, size: int | None = None) -> Tensor:
    """Filters a C x H x W image with `gaussian_kernel(sigma, size)`, one axis after the other."""
    kernel = gaussian_kernel(sigma, size)
    radius = len(kernel) // 2
    padded = F.pad(image, (radius, radius, radius, radius), mode="replicate")
    filter_axis = _add_shifted if len(kernel) <= MAX_SHIFTS else _multiply_blocks
    return filter_axis(filter_axis(padded, kernel, -2), kernel, -1)


def filter2d(image: Tensor, kernel: Tensor) -> Tensor:
    """Filters a C x H x W image with a 2-D kernel that has odd sides and is point-symmetric about its centre."""
    height, width = image.shape[-2:]
    rows, columns = kernel.shape[0] // 2, kernel.shape[1] // 2
    padded = F.pad(image, (columns, columns, rows, rows), mode="replicate")
    taps = kernel.nonzero().tolist()
    if len(taps) <= MAX_TAPS:
        result = torch.zeros_like(image)
        for y, x in taps:
            result.add_(padded[:, y : y + height, x : x + width], alpha=kernel[y, x].item())
        return result
    shape = [fast_length(side) for side in padded.shape[-2:]]
    spectrum = torch.fft.rfft2(padded, s=shape) * torch.fft.rfft2(kernel.to(image), s=shape)
    # The FFT takes the kernel's first entry as its origin, so the result starts at 2 x radius (the padding plus the
    # kernel's own radius). Circular wrap-around only affects the entries before that.
    rows, columns = 2 * rows, 2 * columns
    return torch.fft.irfft2(spectrum, s=shape)[..., rows : rows + height, columns : columns + width]


def fast_length(length: int) -> int:
    """Returns the smallest number >= `length` without a prime factor above 5, for a fast FFT.

    It equals SciPy's `next_fast_len(length, real=True)`. Importing SciPy would cost a data-loading worker 17 MB.
    """
    while True:
        rest = length
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return length
        length += 1


def _add_shifted(padded: Tensor, kernel: Tensor, axis: int) -> Tensor:
    """Filters along one axis with a symmetric 1-D kernel, as a weighted sum of shifted copies.

    `padded` has a border of len(kernel) // 2 at both ends of the axis; the result has no border.
    """
    weights = kernel.tolist()
    radius = len(weights) // 2
    length = padded.shape[axis] - 2 * radius
    result = padded.narrow(axis, radius, length) * weights[radius]
    for i in range(radius):
        result.add_(padded.narrow(axis, i, length), alpha=weights[i])
        result.add_(padded.narrow(axis, 2 * radius - i, length), alpha=weights[i])
    return result


def _multiply_blocks(padded: Tensor, kernel: Tensor, axis: int) -> Tensor:
    """Computes the result of `_add_shifted` by products with a banded matrix, for BLOCK rows or columns at a time."""
    border = len(kernel) - 1
    # Row i of the band is the kernel shifted right by i: it maps BLOCK + border values to BLOCK filtered values.
    band = F.pad(kernel, (0, BLOCK)).repeat(BLOCK)[: BLOCK * (BLOCK + border)].view(BLOCK, -1).to(padded)
    filtered = []
    for start in range(0, padded.shape[axis] - border, BLOCK):
        count = min(BLOCK, padded.shape[axis] - border - start)
        block, weights = padded.narrow(axis, start, count + border), band[:count, : count + border]
        filtered.append(weights @ block if axis == -2 else block @ weights.T)
    return torch.cat(filtered, dim=axis)
