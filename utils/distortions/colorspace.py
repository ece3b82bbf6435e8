"""Conversions between sRGB and CIE L*a*b* (D65, 2 degrees; IEC 61966-2-1 and CIE 15), in float32 or float64."""

import torch
from torch import Tensor

_RGB_TO_XYZ = torch.tensor(
    [[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]],
    dtype=torch.float64,
)
_WHITE = torch.tensor([0.95047, 1.0, 1.08883], dtype=torch.float64)
_RGB_TO_SCALED_XYZ = _RGB_TO_XYZ / _WHITE[:, None]
_SCALED_XYZ_TO_RGB = torch.linalg.inv(_RGB_TO_SCALED_XYZ)
# L = 116 f_y - 16, a = 500 (f_x - f_y), b = 200 (f_y - f_z)


def rgb_to_lab(rgb: Tensor) -> Tensor:
    """3 x H x W sRGB in [0, 1] -> 3 x H x W Lab, L in [0, 100]."""
    linear = torch.where(rgb > 0.04045, _power((rgb + 0.055) / 1.055, 2.4), rgb / 12.92)
    xyz = _mix(_RGB_TO_SCALED_XYZ, linear)
    fx, fy, fz = torch.where(xyz > 0.008856, _power(xyz, 1 / 3), 7.787 * xyz + 16 / 116)
    return torch.stack([116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)])


def lab_to_rgb(lab: Tensor) -> Tensor:
    """3 x H x W Lab -> 3 x H x W sRGB; f_z is clamped at 0 and colours out of gamut are clipped to [0, 1]."""
    fy = (lab[0] + 16) / 116
    f = torch.stack([fy + lab[1] / 500, fy, (fy - lab[2] / 200).clamp_(min=0)])
    xyz = torch.where(f > 0.2068966, f**3, (f - 16 / 116) / 7.787)
    linear = _mix(_SCALED_XYZ_TO_RGB, xyz).clamp_(0, 1)
    rgb = torch.where(linear > 0.0031308, 1.055 * _power(linear, 1 / 2.4) - 0.055, 12.92 * linear)
    return rgb.clamp_(0, 1)


def grey(rgb: Tensor) -> Tensor:
    """3 x H x W -> H x W, the luma .299 R + .587 G + .114 B."""
    return 0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2]


def trunc8(image: Tensor) -> Tensor:
    """trunc(255 y) / 255: an image in [0, 1] as 8-bit numbers hold it."""
    return (255 * image).trunc_().div_(255)


def _mix(matrix: Tensor, image: Tensor) -> Tensor:
    return (matrix.to(image) @ image.flatten(1)).view_as(image)


def _power(x: Tensor, exponent: float) -> Tensor:
    # exp2(log2) takes half the time of pow; below 0 it is NaN, which no branch that uses it selects.
    return torch.exp2(torch.log2(x) * exponent)
