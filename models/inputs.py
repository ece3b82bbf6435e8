"""What `ARNIQA.score` takes: one image or several, as paths, Pillow images or tensors."""

import math
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from .errors import ImageError
from .image_file import open_image, to_rgb
from .preprocess import check_size

OneImage = str | Path | Image.Image | Tensor
Named = tuple[str, OneImage]  # what a message calls it, and the image


def one_by_one(images: object, name: str = "images") -> tuple[list[Named], bool]:
    """The images of a path, a Pillow image, a tensor, or a list or tuple of these; and whether it is a single one.

    A tensor N x 3 x H x W is N images. Tensors are checked; files are not opened yet.

    Raises:
        ImageError: there are none, one is something else, or a tensor has another shape, type or range, or is on
            another device than the rest.
    """
    single, given = True, [(name, images)]
    if isinstance(images, list | tuple):
        single, given = False, [(f"{name}[{i}]", image) for i, image in enumerate(images)]
    found: list[Named] = []
    for called, image in given:
        if isinstance(image, Tensor):
            _check_kind(called, image)
            batch = [(f"{called}[{i}]", one) for i, one in enumerate(image)] if image.ndim == 4 else [(called, image)]
            found += batch
            single &= image.ndim == 3
        elif isinstance(image, str | Path):
            found.append((str(image), image))
        elif isinstance(image, Image.Image):
            found.append((called, image))
        else:
            raise ImageError(
                f"{called}: found {type(image).__name__}; expected a path, a PIL image, a tensor, or a list of these"
            )
    if not found:
        raise ImageError(f"{name}: is empty; give at least one image")
    tensors = [(called, image) for called, image in found if isinstance(image, Tensor)]
    devices = sorted({str(image.device) for _, image in tensors})
    if len(devices) > 1:
        raise ImageError(f"{name}: has tensors on {' and '.join(devices)}; move them to one device")
    for called, image in tensors:
        check_size(called, image)
        if image.is_floating_point():
            _check_range(called, image)
    return found, single


def read(image: OneImage, name: str) -> Image.Image | Tensor:
    """An image of `one_by_one` as RGB, uint8, in a Pillow image; a tensor of floats stays as it is.

    Raises:
        ImageError: it cannot be read, or is too small.
    """
    if isinstance(image, Tensor):
        if image.is_floating_point():
            return image
        return Image.fromarray(image.permute(1, 2, 0).contiguous().cpu().numpy())
    found = to_rgb(image, name) if isinstance(image, Image.Image) else open_image(image)
    check_size(name, found)
    return found


def _check_kind(name: str, image: Tensor) -> None:
    shape = " x ".join(map(str, image.shape))
    if image.ndim not in (3, 4) or image.shape[-3] != 3:
        raise ImageError(f"{name}: found {shape or 'a number'}; expected 3 x H x W or N x 3 x H x W, RGB")
    if image.dtype != torch.uint8 and not image.is_floating_point():
        found = str(image.dtype).removeprefix("torch.")
        raise ImageError(f"{name}: found {found}; expected uint8 in 0..255 or floats in [0, 1]")


def _check_range(name: str, image: Tensor) -> None:
    low, high = (value.item() for value in image.detach().aminmax())
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ImageError(f"{name}: has NaN or infinite values; expected floats in [0, 1]")
    if low < 0 or high > 1:
        advice = "divide by 255" if low >= 0 and high > 2 else "do not normalise them, and clamp what leaves the range"
        raise ImageError(f"{name}: has values from {low:.4g} to {high:.4g}; expected floats in [0, 1]: {advice}")
