"""Conversions between sRGB and the coordinates behind CIE L*a*b* (D65, 2 degrees; IEC 61966-2-1 and CIE 15).

Lab is a linear map of f(X / X_n), f(Y / Y_n) and f(Z / Z_n), with CIE's f, a cube root over a short line:
L = 116 f_Y - 16, a = 500 (f_X - f_Y), b = 200 (f_Y - f_Z). The distortions work on the three f, which saves the map and
its inverse. In float32 or float64.
"""

import torch
from torch import Tensor

_RGB_TO_XYZ = torch.tensor(
    [[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]],
    dtype=torch.float64,
)
_WHITE = torch.tensor([0.95047, 1.0, 1.08883], dtype=torch.float64)

# Each of the four curves is a power over a knot and a line below it. The parts meet there, so that x's value is
# power(max(x, knot)) + slope (min(x, knot) - knot), which is several times quicker than a choice per value.
# Factors and constant terms move into the matrix products: as ((x + .055) / 1.055)^2.4 = (x + .055)^2.4 / _GAIN.
_GAIN = 1.055**2.4
_SRGB_KNOT, _LINEAR_KNOT = 0.04045, 0.0031308
_CUBE_KNOT, _ROOT_KNOT = 0.008856, 0.2068966
_TO_XYZ = _RGB_TO_XYZ / _WHITE[:, None] / _GAIN
_TO_XYZ_CONSTANT = _TO_XYZ.sum(1) * (-_SRGB_KNOT * _GAIN / 12.92)
_FROM_XYZ = torch.linalg.inv(_TO_XYZ)
_FROM_XYZ_CONSTANT = _FROM_XYZ.sum(1) * (-_ROOT_KNOT / 7.787)


def rgb_to_f(rgb: Tensor) -> Tensor:
    """3 x H x W sRGB in [0, 1] -> 3 x H x W, the f of X, Y and Z."""
    linear = _power(rgb.clamp(min=_SRGB_KNOT).add_(0.055), 2.4)
    linear.add_(rgb.clamp(max=_SRGB_KNOT), alpha=_GAIN / 12.92)
    xyz = _mix(_TO_XYZ, linear, _TO_XYZ_CONSTANT)
    f = _power(xyz.clamp(min=_CUBE_KNOT), 1 / 3)
    return f.add_(xyz.clamp_(max=_CUBE_KNOT).sub_(_CUBE_KNOT), alpha=7.787)


def f_to_rgb(f: Tensor) -> Tensor:
    """3 x H x W, the f of X, Y and Z -> 3 x H x W sRGB; f_Z is clamped at 0, colours out of gamut to [0, 1].

    The memory of `f` is used up.
    """
    f[2].clamp_(min=0)
    xyz = f.clamp(min=_ROOT_KNOT).pow_(3).add_(f.clamp_(max=_ROOT_KNOT), alpha=1 / 7.787)
    linear = _mix(_FROM_XYZ, xyz, _FROM_XYZ_CONSTANT).clamp_(0, _GAIN)  # times _GAIN, as its matrix is
    rgb = _power(linear.clamp(min=_LINEAR_KNOT * _GAIN), 1 / 2.4)
    rgb.add_(linear.clamp_(max=_LINEAR_KNOT * _GAIN), alpha=12.92 / _GAIN)
    return rgb.sub_(0.055 + 12.92 * _LINEAR_KNOT).clamp_(0, 1)


def grey(rgb: Tensor) -> Tensor:
    """3 x H x W -> H x W, the luma .299 R + .587 G + .114 B."""
    return (0.299 * rgb[0]).add_(rgb[1], alpha=0.587).add_(rgb[2], alpha=0.114)


def trunc8(image: Tensor) -> Tensor:
    """trunc(255 y) / 255: an image in [0, 1] as 8-bit numbers hold it."""
    return (255 * image).floor_().div_(255)  # floor is ten times quicker, and the same from 0 up


def _mix(matrix: Tensor, image: Tensor, constant: Tensor) -> Tensor:
    return torch.addmm(constant[:, None].to(image), matrix.to(image), image.flatten(1)).view_as(image)


def _power(x: Tensor, exponent: float) -> Tensor:
    # In place. exp2(log2) takes half the time of pow, and x is positive here.
    return x.log2_().mul_(exponent).exp2_()
