"""models.preprocess: what the model scores is read and cropped as the datasets are, and resized as published."""

import os
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image, ImageFile
from torchvision.transforms import Resize

from models import preprocess
from models.errors import ImageError
from utils import image as of_datasets
from utils.errors import UserError

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
RGB = Image.fromarray(PIXELS)
GREY = np.asarray(RGB.convert("L"))
ROTATED = Image.Exif()
ROTATED[0x0112] = 6  # by 90 degrees

FILES = {
    "rgb.png": lambda path: RGB.save(path),
    "rgb.jpg": lambda path: RGB.save(path),
    "grey.png": lambda path: RGB.convert("L").save(path),
    "bilevel.png": lambda path: RGB.convert("1").save(path),
    "16bit.png": lambda path: Image.fromarray(GREY.astype(np.uint16) * 257).save(path),
    "16bit.tif": lambda path: Image.fromarray(GREY.astype(np.uint16) * 200).save(path),
    "16bit.pgm": lambda path: path.write_bytes(b"P5 60 40 65535\n" + (GREY.astype(">u2") * 257).tobytes()),
    "palette.png": lambda path: RGB.quantize(16).save(path),
    "palette.gif": lambda path: RGB.quantize(16).save(path),
    "transparent.png": lambda path: RGB.quantize(16).save(path, transparency=3),
    "alpha.png": lambda path: Image.fromarray(np.dstack([PIXELS, GREY])).save(path),
    "grey alpha.png": lambda path: RGB.convert("LA").save(path),
    "cmyk.jpg": lambda path: RGB.convert("CMYK").save(path),
    "ycbcr.tif": lambda path: RGB.convert("YCbCr").save(path),
    "exif.png": lambda path: RGB.save(path, exif=ROTATED),
    "exif.jpg": lambda path: RGB.save(path, exif=ROTATED),
    "pixel.png": lambda path: RGB.resize((1, 1)).save(path),
    "line.png": lambda path: RGB.resize((300, 1)).save(path),
}
REFUSED = {
    "missing.png": lambda path: None,
    "folder.png": lambda path: path.mkdir(),
    "empty.png": lambda path: path.write_bytes(b""),
    "text.png": lambda path: path.write_bytes(b"no image"),
    "32bit.tif": lambda path: Image.fromarray(GREY.astype(np.int32)).save(path),
    "float.tif": lambda path: Image.fromarray(GREY.astype(np.float32)).save(path),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_has_the_pixels_that_the_datasets_read(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    FILES[name](path)
    found = preprocess.open_image(path)
    expected = of_datasets.open_image(path)
    assert (found.mode, found.size) == ("RGB", expected.size)
    np.testing.assert_array_equal(np.asarray(found), np.asarray(expected))
    with Image.open(path) as opened:  # by the user
        np.testing.assert_array_equal(np.asarray(preprocess.to_rgb(opened, "image")), np.asarray(expected))


@pytest.mark.parametrize("name", REFUSED)
def test_a_file_that_the_datasets_refuse_is_refused_in_the_same_words(tmp_path: Path, name: str) -> None:
    REFUSED[name](tmp_path / name)
    with pytest.raises(UserError) as expected:
        of_datasets.open_image(tmp_path / name)
    with pytest.raises(ImageError) as found:
        preprocess.open_image(tmp_path / name)
    assert str(found.value) == str(expected.value) and "\n" not in str(found.value)


@pytest.mark.parametrize("before", [False, True])
def test_a_truncated_file_is_refused_whatever_the_program_has_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: bool
) -> None:
    path = tmp_path / "cut.jpg"
    RGB.resize((300, 200)).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", before)
    with pytest.raises(ImageError, match=r"cut\.jpg: not a readable image \(image file is truncated"):
        preprocess.open_image(path)
    assert ImageFile.LOAD_TRUNCATED_IMAGES is before


def test_an_opened_image_that_cannot_be_decoded_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "cut.png"
    RGB.save(path)
    path.write_bytes(path.read_bytes()[:2000])
    for image in (Image.open(path), Image.fromarray(GREY.astype(np.float32))):
        with image, pytest.raises(ImageError, match=r"images\[3\]: not a readable image") as error:
            preprocess.to_rgb(image, "images[3]")
        assert "\n" not in str(error.value)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")
def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.png")
    with pytest.raises(ImageError, match=r"x\.png: not a readable image \(not a regular file\)"):
        preprocess.open_image(tmp_path / "x.png")


@pytest.mark.parametrize("size", [(60, 40), (61, 41), (40, 60), (20, 70), (9, 9), (1, 1)])
@pytest.mark.parametrize("crop_size", [16, 17, 48])
def test_the_crops_are_those_of_the_datasets(size: tuple[int, int], crop_size: int) -> None:
    image = RGB.resize(size)
    expected = np.stack([np.asarray(crop) for crop in of_datasets.center_corners_crop(image, crop_size)])
    found = preprocess.five_crops(preprocess.to_pixels(image), crop_size)
    assert found.dtype == torch.uint8
    np.testing.assert_array_equal(found.permute(0, 2, 3, 1).numpy(), expected)
    floats = preprocess.five_crops(of_datasets.to_tensor(image), crop_size)
    np.testing.assert_array_equal((floats * 255).round().byte().numpy(), found.numpy())


@pytest.mark.parametrize("size", [(60, 40), (61, 41), (33, 90), (1, 1), (1, 7)])
def test_the_half_scale_image_is_that_of_the_published_script(size: tuple[int, int]) -> None:
    image = RGB.resize(size)
    expected = Resize((max(1, size[1] // 2), max(1, size[0] // 2)))(image)
    np.testing.assert_array_equal(np.asarray(preprocess.half_scale(image)), np.asarray(expected))


@pytest.mark.parametrize("size", [(60, 40), (61, 41), (481, 321), (321, 481), (33, 33)])
@pytest.mark.parametrize("side", [None, 32, 50])
def test_the_shorter_side_is_resized_as_in_the_datasets(size: tuple[int, int], side: int | None) -> None:
    image = Image.fromarray(skimage.data.chelsea()).resize(size)
    expected = of_datasets.resize_shorter_side(image, side)
    np.testing.assert_array_equal(np.asarray(preprocess.resize_shorter_side(image, side)), np.asarray(expected))
    floats = preprocess.resize_shorter_side(of_datasets.to_tensor(image), side)
    assert preprocess.size(floats) == expected.size
    assert (floats - of_datasets.to_tensor(expected)).abs().max() <= 1.5 / 255  # Pillow rounds after each axis


def test_values_are_normalised_as_in_the_datasets() -> None:
    pixels = preprocess.to_pixels(RGB)
    for values in (pixels, pixels / 255):
        assert torch.equal(preprocess.normalize(values), of_datasets.normalize(values))
