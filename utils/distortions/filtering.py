"""Linear filters whose border replicates the image's edge. All kernels are symmetric, so that correlation and
convolution are the same."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

# Up to this many taps, adding shifted copies of the image is quicker than a product with a banded matrix.
MAX_SHIFTS = 15


def gaussian_kernel(sigma: float, size: int | None = None) -> Tensor:
    """Gaussian of standard deviation `sigma` in pixels, sum 1, float64; `size` (odd) is 2 ceil(2 sigma) + 1 if not given."""
    if size is None:
        size = 2 * math.ceil(2 * sigma) + 1
    x = torch.arange(size, dtype=torch.float64) - size // 2
    kernel = torch.exp(-(x**2) / (2 * sigma**2))
    return kernel / kernel.sum()


def gaussian_blur(image: Tensor, sigma: float, size: int | None = None) -> Tensor:
    """Filters the last two axes of a ... x H x W image by a Gaussian (`gaussian_kernel`), one axis after the other."""
    kernel = gaussian_kernel(sigma, size)
    if len(kernel) > MAX_SHIFTS:
        height, width = image.shape[-2:]
        return _band_matrix(kernel, height).to(image) @ image @ _band_matrix(kernel, width).to(image).T
    return _filter_axis(_filter_axis(image, kernel, -2), kernel, -1)


def filter2d(image: Tensor, kernel: Tensor) -> Tensor:
    """Filters a C x H x W image by a point-symmetric 2-D kernel with odd sides, in the Fourier domain."""
    height, width = image.shape[-2:]
    rows, columns = kernel.shape[0] // 2, kernel.shape[1] // 2
    padded = F.pad(image[None], (columns, columns, rows, rows), mode="replicate")[0]
    shape = list(padded.shape[-2:])
    spectrum = torch.fft.rfft2(padded) * torch.fft.rfft2(kernel.to(image), s=shape)
    # The circular convolution is shifted by the kernel's centre, and what wraps round falls before its last index.
    return torch.fft.irfft2(spectrum, s=shape)[..., 2 * rows :, 2 * columns :][..., :height, :width].contiguous()


def _filter_axis(image: Tensor, kernel: Tensor, axis: int) -> Tensor:
    length, radius = image.shape[axis], len(kernel) // 2
    positions = torch.arange(-radius, length + radius, device=image.device).clamp_(0, length - 1)
    padded = image.index_select(axis, positions)
    result = padded.narrow(axis, radius, length) * kernel[radius].item()
    for i in range(radius):
        pair = padded.narrow(axis, i, length) + padded.narrow(axis, 2 * radius - i, length)
        result.add_(pair, alpha=kernel[i].item())
    return result


def _band_matrix(kernel: Tensor, length: int) -> Tensor:
    """The length x length matrix M for which M x is x filtered, border replicated."""
    radius = len(kernel) // 2
    impulses = F.pad(torch.eye(length, dtype=kernel.dtype)[:, None], (radius, radius), mode="replicate")
    return F.conv1d(impulses, kernel[None, None])[:, 0].T
