"""Inputs of `ARNIQA.score`: one image or several, as paths, Pillow images or tensors."""

from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from .errors import ImageError
from .image_file import open_image, to_rgb
from .preprocess import check_size

OneImage = str | Path | Image.Image | Tensor
Named = tuple[str, OneImage]  # name for messages, image


def one_by_one(images: object, name: str = "images") -> tuple[list[Named], bool]:
    """Splits a path, Pillow image, tensor, or list or tuple of these into images; also returns whether it is one image.

    A tensor N x 3 x H x W is N images. Tensors are checked; files are not opened yet.

    Raises:
        ImageError: there is no image, an element has another type, or a tensor has a wrong shape, dtype or range.
    """
    single, given = True, [(name, images)]
    if isinstance(images, list | tuple):
        single, given = False, [(f"{name}[{i}]", image) for i, image in enumerate(images)]
    named: list[Named] = []
    for called, image in given:
        if isinstance(image, Tensor):
            _check_tensor(called, image)
            several = image.ndim == 4
            named += [(f"{called}[{i}]", one) for i, one in enumerate(image)] if several else [(called, image)]
            single &= not several
        elif isinstance(image, str | Path | Image.Image):
            named.append((called if isinstance(image, Image.Image) else str(image), image))
        else:
            raise ImageError(
                f"{called}: found {type(image).__name__}; expected a path, a PIL image, a tensor, or a list of these"
            )
    if not named:
        raise ImageError(f"{name}: is empty; give at least one image")
    return named, single


def read(image: OneImage, name: str) -> Image.Image | Tensor:
    """Converts an image of `one_by_one` to an 8-bit RGB Pillow image; float tensors are returned unchanged.

    Raises:
        ImageError: the image cannot be read or is too small.
    """
    picture: Image.Image | Tensor
    if isinstance(image, Tensor):
        uint8 = image.dtype == torch.uint8
        picture = Image.fromarray(image.permute(1, 2, 0).contiguous().cpu().numpy()) if uint8 else image
    else:
        picture = to_rgb(image, name) if isinstance(image, Image.Image) else open_image(image)
    check_size(name, picture)
    return picture


def _check_tensor(name: str, image: Tensor) -> None:
    shape = " x ".join(map(str, image.shape))
    if image.ndim not in (3, 4) or image.shape[-3] != 3:
        raise ImageError(f"{name}: found {shape or 'a number'}; expected 3 x H x W or N x 3 x H x W, RGB")
    if image.dtype == torch.uint8 or image.numel() == 0:
        return
    if not image.is_floating_point():
        kind = str(image.dtype).removeprefix("torch.")
        raise ImageError(f"{name}: found {kind}; expected uint8 in 0..255 or floats in [0, 1]")
    low, high = (value.item() for value in image.detach().aminmax())
    if not (low >= 0 and high <= 1):  # also for NaN
        raise ImageError(
            f"{name}: has values from {low:.4g} to {high:.4g}; expected floats in [0, 1]: divide by 255, do not "
            "normalise them, and clamp values outside the range"
        )
