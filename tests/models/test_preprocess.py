"""models.preprocess: scales and crops as published, and the same of Pillow images and tensors."""

import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image
from torchvision.transforms import Resize

from models.preprocess import (
    center_corners_crop,
    denormalize,
    five_crops,
    half_scale_bicubic,
    half_scale_bilinear,
    normalize,
    resize_shorter_side_bicubic,
    size,
    to_pixels,
    to_tensor,
)

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
RGB = Image.fromarray(PIXELS)


@pytest.mark.parametrize("shape", [(60, 40), (61, 41), (40, 60), (20, 70), (9, 9), (1, 1)])
@pytest.mark.parametrize("size", [16, 17, 48])
def test_crops_are_the_published_ones_of_images_and_tensors(shape: tuple[int, int], size: int) -> None:
    """The pixel (W // 2, H // 2) is at (size // 2, size // 2) of the centre crop; beyond the border it is black."""
    image = RGB.resize(shape)
    w, h = shape
    corners = [(w // 2 - size // 2, h // 2 - size // 2), (0, 0), (0, h - size), (w - size, 0), (w - size, h - size)]
    expected = np.stack([np.asarray(image.crop((x, y, x + size, y + size))) for x, y in corners])
    np.testing.assert_array_equal(np.stack([np.asarray(crop) for crop in center_corners_crop(image, size)]), expected)
    np.testing.assert_array_equal(five_crops(to_pixels(image), size).permute(0, 2, 3, 1).numpy(), expected)
    floats = five_crops(to_tensor(image), size)
    np.testing.assert_array_equal((floats * 255).round().permute(0, 2, 3, 1).numpy(), expected)


@pytest.mark.parametrize("shape", [(60, 40), (61, 41), (33, 90), (1, 1), (1, 7)])
def test_the_half_scale_images_are_the_published_ones(shape: tuple[int, int]) -> None:
    image = RGB.resize(shape)
    half = (max(1, shape[0] // 2), max(1, shape[1] // 2))
    np.testing.assert_array_equal(np.asarray(half_scale_bilinear(image)), np.asarray(Resize(half[::-1])(image)))
    expected = image.resize(half, Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(np.asarray(half_scale_bicubic(image)), np.asarray(expected))


@pytest.mark.parametrize("shape", [(60, 40), (61, 41), (481, 321), (321, 481), (33, 33)])
@pytest.mark.parametrize("side", [None, 32, 50])
def test_the_shorter_side_is_resized_as_published(shape: tuple[int, int], side: int | None) -> None:
    image = Image.fromarray(skimage.data.chelsea()).resize(shape)
    width, height = shape
    longer = (
        (side, int(side / (width / height))) if side and width < height else (int((side or 0) * (width / height)), side)
    )
    expected = image.resize(longer, Image.Resampling.BICUBIC) if side else image
    np.testing.assert_array_equal(np.asarray(resize_shorter_side_bicubic(image, side)), np.asarray(expected))
    floats = resize_shorter_side_bicubic(to_tensor(image), side)
    assert size(floats) == expected.size
    assert (floats - to_tensor(expected)).abs().max() <= 1.5 / 255  # Pillow rounds after each axis


def test_normalize_uses_imagenet_statistics_and_denormalize_is_the_inverse() -> None:
    tensor = to_tensor(RGB)
    np.testing.assert_allclose(tensor.permute(1, 2, 0).numpy(), PIXELS / 255, atol=1e-7)
    expected = (PIXELS / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    for values in (tensor, to_pixels(RGB)):
        np.testing.assert_allclose(normalize(values).permute(1, 2, 0).numpy(), expected, atol=1e-5)
    torch.testing.assert_close(denormalize(normalize(tensor)), tensor)
