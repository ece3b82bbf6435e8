"""Conversions between sRGB and the values f_X, f_Y, f_Z of CIE L*a*b*, in float32 or float64.

The standard definition (IEC 61966-2-1 and CIE 15, with the D65 white point and the 2 degree observer):

    linear(v) = ((v + 0.055) / 1.055)^2.4 if v > 0.04045, else v / 12.92      for v = R, G, B in [0, 1]
    (X, Y, Z) = M (linear(R), linear(G), linear(B))
    f(t) = t^(1/3) if t > 0.008856, else 7.787 t + 16/116
    f_X = f(X / X_n), f_Y = f(Y / Y_n), f_Z = f(Z / Z_n)                      with the white point (X_n, Y_n, Z_n)
    L = 116 f_Y - 16,  a = 500 (f_X - f_Y),  b = 200 (f_Y - f_Z)

The last line is linear, so the distortions work directly on f_X, f_Y and f_Z. This saves the conversion to (L, a, b)
and back.
"""

import torch
from torch import Tensor

_RGB_TO_XYZ = torch.tensor(
    [[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]],
    dtype=torch.float64,
)
_WHITE = torch.tensor([0.95047, 1.0, 1.08883], dtype=torch.float64)

# `linear`, `f` and their inverses are each a power above a knot and a line below it. Both parts meet at the knot, so
#     curve(x) = power(max(x, knot)) + slope * (min(x, knot) - knot)
# for every x. This is several times faster than choosing between the parts for each value. Constant factors and terms
# are folded into the matrix products; for example, ((v + 0.055) / 1.055)^2.4 = (v + 0.055)^2.4 / _GAIN.
_GAIN = 1.055**2.4
_SRGB_KNOT, _LINEAR_KNOT = 0.04045, 0.0031308
_CUBE_KNOT, _ROOT_KNOT = 0.008856, 0.2068966
_TO_XYZ = _RGB_TO_XYZ / _WHITE[:, None] / _GAIN
_TO_XYZ_CONSTANT = _TO_XYZ.sum(1) * (-_SRGB_KNOT * _GAIN / 12.92)
_FROM_XYZ = torch.linalg.inv(_TO_XYZ)
_FROM_XYZ_CONSTANT = _FROM_XYZ.sum(1) * (-_ROOT_KNOT / 7.787)


def rgb_to_f(rgb: Tensor) -> Tensor:
    """Converts sRGB in [0, 1] -> (f_X, f_Y, f_Z), both 3 x H x W."""
    linear = _power(rgb.clamp(min=_SRGB_KNOT).add_(0.055), 2.4)
    linear.add_(rgb.clamp(max=_SRGB_KNOT), alpha=_GAIN / 12.92)
    xyz = _mix(_TO_XYZ, linear, _TO_XYZ_CONSTANT)
    f = _power(xyz.clamp(min=_CUBE_KNOT), 1 / 3)
    return f.add_(xyz.clamp_(max=_CUBE_KNOT).sub_(_CUBE_KNOT), alpha=7.787)


def f_to_rgb(f: Tensor) -> Tensor:
    """Converts (f_X, f_Y, f_Z) -> sRGB in [0, 1], both 3 x H x W. Overwrites `f`.

    Negative f_Z is set to 0, and out-of-gamut colours are clamped to [0, 1].
    """
    f[2].clamp_(min=0)
    xyz = f.clamp(min=_ROOT_KNOT).pow_(3).add_(f.clamp_(max=_ROOT_KNOT), alpha=1 / 7.787)
    linear = _mix(_FROM_XYZ, xyz, _FROM_XYZ_CONSTANT).clamp_(0, _GAIN)  # linear RGB times _GAIN
    rgb = _power(linear.clamp(min=_LINEAR_KNOT * _GAIN), 1 / 2.4)
    rgb.add_(linear.clamp_(max=_LINEAR_KNOT * _GAIN), alpha=12.92 / _GAIN)
    return rgb.sub_(0.055 + 12.92 * _LINEAR_KNOT).clamp_(0, 1)


def grey(rgb: Tensor) -> Tensor:
    """Returns the luma 0.299 R + 0.587 G + 0.114 B: 3 x H x W -> H x W."""
    return (0.299 * rgb[0]).add_(rgb[1], alpha=0.587).add_(rgb[2], alpha=0.114)


def trunc8(image: Tensor) -> Tensor:
    """Truncates an image in [0, 1] to 8 bits per value: trunc(255 x) / 255."""
    return (255 * image).floor_().div_(255)  # for x >= 0, floor equals trunc and is ten times faster


def _mix(matrix: Tensor, image: Tensor, constant: Tensor) -> Tensor:
    return torch.addmm(constant[:, None].to(image), matrix.to(image), image.flatten(1)).view_as(image)


def _power(x: Tensor, exponent: float) -> Tensor:
    # In place, for x > 0. Twice as fast as pow.
    return x.log2_().mul_(exponent).exp2_()
