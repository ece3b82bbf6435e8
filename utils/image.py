"""Images as files, crops and tensors."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from utils.errors import UserError

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def open_image(path: str | Path) -> Image.Image:
    """The decoded image as RGB, as stored (an EXIF rotation is not applied).

    Raises:
        UserError: the file is missing, empty, cut or no image.
    """
    try:
        with Image.open(path) as image:
            return image.convert("RGB")
    except (OSError, UnidentifiedImageError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(f"{path}: not a readable image ({str(error).splitlines()[0]})") from error


def half_scale(image: Image.Image) -> Image.Image:
    """The image at (W // 2, H // 2), by Pillow's bicubic."""
    return image.resize((max(1, image.width // 2), max(1, image.height // 2)), Image.Resampling.BICUBIC)


def center_corners_crop(image: Image.Image, crop_size: int) -> list[Image.Image]:
    """Centre, top-left, bottom-left, top-right and bottom-right crops of crop_size x crop_size."""
    w, h, s = image.width, image.height, crop_size
    corners = [((w - s) // 2, (h - s) // 2), (0, 0), (0, h - s), (w - s, 0), (w - s, h - s)]
    return [image.crop((x, y, x + s, y + s)) for x, y in corners]


def to_tensor(image: Image.Image) -> Tensor:
    """RGB image -> 3 x H x W float32 in [0, 1]."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255


def normalize(image: Tensor) -> Tensor:
    """... x 3 x H x W in [0, 1] -> ImageNet-normalised."""
    return (image - torch.tensor(IMAGENET_MEAN).view(3, 1, 1)) / torch.tensor(IMAGENET_STD).view(3, 1, 1)


def denormalize(image: Tensor) -> Tensor:
    """The inverse of `normalize`, clipped to [0, 1]."""
    mean, std = torch.tensor(IMAGENET_MEAN).view(3, 1, 1), torch.tensor(IMAGENET_STD).view(3, 1, 1)
    return (image * std + mean).clamp(0, 1)
