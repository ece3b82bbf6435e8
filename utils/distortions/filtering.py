"""Linear filters whose border replicates the image's edge. All kernels are symmetric, so that correlation and
convolution are the same."""

import math

import torch
import torch.nn.functional as F
from scipy.fft import next_fast_len
from torch import Tensor

# Up to this many taps, adding shifted copies of the image is quicker than products with a banded matrix.
MAX_SHIFTS = 11
# So many rows or columns are filtered by one product: few, for the matrix is mostly zeros, yet enough for its speed.
BLOCK = 32
# Up to this many weights other than 0, the same is quicker than Fourier transforms.
MAX_TAPS = 30


def gaussian_kernel(sigma: float, size: int | None = None) -> Tensor:
    """Gaussian of standard deviation `sigma` pixels, sum 1, float64; `size` is 2 ceil(2 sigma) + 1 if not given."""
    if size is None:
        size = 2 * math.ceil(2 * sigma) + 1
    x = torch.arange(size, dtype=torch.float64) - size // 2
    kernel = torch.exp(-(x**2) / (2 * sigma**2))
    return kernel / kernel.sum()


def gaussian_blur(image: Tensor, sigma: float, size: int | None = None) -> Tensor:
    """Filters a C x H x W image by a Gaussian (`gaussian_kernel`), one axis after the other."""
    kernel = gaussian_kernel(sigma, size)
    radius = len(kernel) // 2
    padded = F.pad(image, (radius, radius, radius, radius), mode="replicate")
    filter_axis = _add_shifted if len(kernel) <= MAX_SHIFTS else _multiply_blocks
    return filter_axis(filter_axis(padded, kernel, -2), kernel, -1)


def filter2d(image: Tensor, kernel: Tensor) -> Tensor:
    """Filters a C x H x W image by a point-symmetric 2-D kernel with odd sides."""
    height, width = image.shape[-2:]
    rows, columns = kernel.shape[0] // 2, kernel.shape[1] // 2
    padded = F.pad(image, (columns, columns, rows, rows), mode="replicate")
    taps = kernel.nonzero().tolist()
    if len(taps) <= MAX_TAPS:
        result = torch.zeros_like(image)
        for y, x in taps:
            result.add_(padded[:, y : y + height, x : x + width], alpha=kernel[y, x].item())
        return result
    shape = [next_fast_len(side, real=True) for side in padded.shape[-2:]]
    spectrum = torch.fft.rfft2(padded, s=shape) * torch.fft.rfft2(kernel.to(image), s=shape)
    # The kernel's origin is its corner, not its centre; what wraps round falls into the first 2 x radius entries.
    rows, columns = 2 * rows, 2 * columns
    return torch.fft.irfft2(spectrum, s=shape)[..., rows : rows + height, columns : columns + width]


def _add_shifted(padded: Tensor, kernel: Tensor, axis: int) -> Tensor:
    """Filters along one axis by a symmetric kernel; the border that it needs is in the image and is used up."""
    weights = kernel.tolist()
    radius = len(weights) // 2
    length = padded.shape[axis] - 2 * radius
    result = padded.narrow(axis, radius, length) * weights[radius]
    for i in range(radius):
        result.add_(padded.narrow(axis, i, length), alpha=weights[i])
        result.add_(padded.narrow(axis, 2 * radius - i, length), alpha=weights[i])
    return result


def _multiply_blocks(padded: Tensor, kernel: Tensor, axis: int) -> Tensor:
    """`_add_shifted` by matrix products, one for each BLOCK of rows or columns."""
    border = len(kernel) - 1
    # Row i is the kernel moved i columns to the right, so that its product with BLOCK + border values filters BLOCK.
    band = F.pad(kernel, (0, BLOCK)).repeat(BLOCK)[: BLOCK * (BLOCK + border)].view(BLOCK, -1).to(padded)
    filtered = []
    for start in range(0, padded.shape[axis] - border, BLOCK):
        count = min(BLOCK, padded.shape[axis] - border - start)
        block, weights = padded.narrow(axis, start, count + border), band[:count, : count + border]
        filtered.append(weights @ block if axis == -2 else block @ weights.T)
    return torch.cat(filtered, dim=axis)
