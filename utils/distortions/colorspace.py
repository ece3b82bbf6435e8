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


def rgb_to_lab(rgb: Tensor) -> Tensor:
    """3 x H x W sRGB in [0, 1] -> 3 x H x W Lab, L in [0, 100]."""
    upper = _power(rgb.clamp(min=0.04045).add_(0.055).div_(1.055), 2.4)
    linear = _join(upper, rgb, 1 / 12.92, 0.04045)
    xyz = _mix(_RGB_TO_SCALED_XYZ, linear)
    fx, fy, fz = _join(_power(xyz.clamp(min=0.008856), 1 / 3), xyz, 7.787, 0.008856)
    return torch.stack([116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)])


def lab_to_rgb(lab: Tensor) -> Tensor:
    """3 x H x W Lab -> 3 x H x W sRGB; f_z is clamped at 0 and colours out of gamut are clipped to [0, 1]."""
    fy = (lab[0] + 16) / 116
    f = torch.stack([fy + lab[1] / 500, fy, (fy - lab[2] / 200).clamp_(min=0)])
    xyz = _join(f.clamp(min=0.2068966) ** 3, f, 1 / 7.787, 0.2068966)
    linear = _mix(_SCALED_XYZ_TO_RGB, xyz).clamp_(0, 1)
    upper = _power(linear.clamp(min=0.0031308), 1 / 2.4).mul_(1.055).sub_(0.055)
    return _join(upper, linear, 12.92, 0.0031308).clamp_(0, 1)


def grey(rgb: Tensor) -> Tensor:
    """3 x H x W -> H x W, the luma .299 R + .587 G + .114 B."""
    return 0.299 * rgb[0] + 0.587 * rgb[1] + 0.114 * rgb[2]


def trunc8(image: Tensor) -> Tensor:
    """trunc(255 y) / 255: an image in [0, 1] as 8-bit numbers hold it."""
    return (255 * image).trunc_().div_(255)


def _mix(matrix: Tensor, image: Tensor) -> Tensor:
    return (matrix.to(image) @ image.flatten(1)).view_as(image)


def _join(upper: Tensor, x: Tensor, slope: float, knot: float) -> Tensor:
    """A curve given over `knot` as upper(max(x, knot)), with a line of that slope below; in place in `upper`.

    The two parts meet at the knot, so that they can be added: several times quicker than a choice per value.
    """
    return upper.add_(x.clamp(max=knot).sub_(knot), alpha=slope)


def _power(x: Tensor, exponent: float) -> Tensor:
    # exp2(log2) takes half the time of pow, and x is positive here.
    return x.log2().mul_(exponent).exp2_()
