import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageFile

from tests.golden import golden
from utils.errors import UserError
from utils.image import (
    center_corners_crop,
    check_header,
    denormalize,
    half_scale,
    normalize,
    open_image,
    open_thumbnail,
    to_tensor,
)

PIXELS = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)


@pytest.mark.parametrize("size", ["300x260", "481x321", "150x120", "225x225"])
def test_crops_match_the_published_code(size: str) -> None:
    data = golden("crops.npz")
    image = Image.fromarray(data[f"{size}/input"])
    for scale, key in ((image, "crops"), (half_scale(image), "half_crops")):
        crops = np.stack([np.asarray(crop) for crop in center_corners_crop(scale, 224)])
        np.testing.assert_array_equal(crops, data[f"{size}/{key}"])


def test_crops_are_the_centre_and_the_corners() -> None:
    centre, top_left, bottom_left, top_right, bottom_right = map(
        np.asarray, center_corners_crop(Image.fromarray(PIXELS), 8)
    )
    np.testing.assert_array_equal(centre, PIXELS[6:14, 11:19])
    np.testing.assert_array_equal(top_left, PIXELS[:8, :8])
    np.testing.assert_array_equal(bottom_left, PIXELS[-8:, :8])
    np.testing.assert_array_equal(top_right, PIXELS[:8, -8:])
    np.testing.assert_array_equal(bottom_right, PIXELS[-8:, -8:])


@pytest.mark.parametrize(
    ("size", "crop", "corner"), [((30, 20), 7, (12, 7)), ((31, 21), 7, (12, 7)), ((31, 21), 8, (11, 6))]
)
def test_the_centre_crop_is_around_the_middle_pixel(size: tuple[int, int], crop: int, corner: tuple[int, int]) -> None:
    """The pixel (W // 2, H // 2) is at (crop // 2, crop // 2), as in the published code, also where a side is odd."""
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    centre = np.asarray(center_corners_crop(Image.fromarray(pixels), crop)[0])
    x, y = corner
    np.testing.assert_array_equal(centre, pixels[y : y + crop, x : x + crop])


def test_a_crop_larger_than_the_image_is_padded() -> None:
    crops = [np.asarray(crop) for crop in center_corners_crop(Image.fromarray(PIXELS), 40)]
    np.testing.assert_array_equal(crops[0][10:30, 5:35], PIXELS)
    np.testing.assert_array_equal(crops[4][-20:, -30:], PIXELS)
    assert all(crop.sum(dtype=int) == PIXELS.sum(dtype=int) for crop in crops)


def test_half_scale_has_at_least_one_pixel() -> None:
    assert half_scale(Image.new("RGB", (1, 1))).size == (1, 1)
    assert half_scale(Image.new("RGB", (9, 5))).size == (4, 2)


def test_normalize_uses_imagenet_statistics_and_denormalize_is_the_inverse() -> None:
    tensor = to_tensor(Image.fromarray(PIXELS))
    np.testing.assert_allclose(tensor.permute(1, 2, 0).numpy(), PIXELS / 255, atol=1e-7)
    expected = (PIXELS / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    np.testing.assert_allclose(normalize(tensor).permute(1, 2, 0).numpy(), expected, atol=1e-5)
    torch.testing.assert_close(denormalize(normalize(tensor)), tensor)


def save(image: Image.Image, path: Path, **options: object) -> np.ndarray:
    image.save(path, **options)
    return np.asarray(open_image(path))


def test_all_image_modes_are_read_as_rgb(tmp_path: Path) -> None:
    rgb = Image.fromarray(PIXELS)
    grey = rgb.convert("L")
    three = np.repeat(np.asarray(grey)[..., None], 3, axis=2)
    np.testing.assert_array_equal(save(grey, tmp_path / "grey.png"), three)
    wide = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    np.testing.assert_array_equal(save(wide, tmp_path / "16bit.png"), three)
    alpha = Image.fromarray(np.dstack([PIXELS, np.full((20, 30), 9, np.uint8)]))
    np.testing.assert_array_equal(save(alpha, tmp_path / "alpha.png"), PIXELS)
    palette = rgb.quantize(16)
    np.testing.assert_array_equal(save(palette, tmp_path / "palette.png"), np.asarray(palette.convert("RGB")))
    cmyk = rgb.convert("CMYK")
    np.testing.assert_array_equal(save(cmyk, tmp_path / "cmyk.tif"), np.asarray(cmyk.convert("RGB")))
    np.testing.assert_array_equal(save(rgb, tmp_path / "ünïcode 图.png"), PIXELS)


def test_an_exif_rotation_is_not_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate by 90 degrees
    assert save(Image.fromarray(PIXELS), tmp_path / "rotated.png", exif=exif).shape == (20, 30, 3)


@pytest.mark.parametrize("kind", ["missing", "folder", "empty", "text", "cut"])
def test_an_unreadable_image_gives_a_one_line_message_with_its_name(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "photo.jpg"
    if kind == "folder":
        path.mkdir()
    elif kind == "cut":
        Image.fromarray(PIXELS).resize((300, 200)).save(path)
        path.write_bytes(path.read_bytes()[:2000])
    elif kind != "missing":
        path.write_bytes(b"" if kind == "empty" else b"no image")
    with pytest.raises(UserError, match=r"photo\.jpg: not a readable image") as error:
        open_image(path)
    assert "\n" not in str(error.value)


@pytest.fixture
def cut(tmp_path: Path) -> Path:
    """A JPEG file without its second half."""
    path = tmp_path / "cut.jpg"
    Image.fromarray(PIXELS).resize((300, 200)).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


def test_a_truncated_image_is_read_as_pillow_reads_it_with_its_flag(cut: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    truncated: list[str] = []
    found = np.asarray(open_image(cut, truncated))
    (line,) = truncated
    assert "cut.jpg: truncated" in line and "\n" not in line
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    np.testing.assert_array_equal(found, np.asarray(Image.open(cut).convert("RGB")))
    assert np.asarray(found)[:50].std() > 20  # the top of the picture is there


@pytest.mark.parametrize("before", [False, True])
def test_pillows_flag_is_as_before_after_every_read(cut: Path, monkeypatch: pytest.MonkeyPatch, before: bool) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", before)
    open_image(cut, [])
    assert ImageFile.LOAD_TRUNCATED_IMAGES is before
    with pytest.raises(UserError, match=r"cut\.jpg: not a readable image \(image file is truncated"):
        open_image(cut)  # refused, even if the program that uses this one has set the flag
    cut.write_bytes(cut.read_bytes()[:100])
    with pytest.raises(UserError, match=r"cut\.jpg: not a readable image"):
        open_image(cut, [])
    assert ImageFile.LOAD_TRUNCATED_IMAGES is before


def test_threads_do_not_see_each_others_flag(cut: Path) -> None:
    def read(lenient: bool) -> bool:
        try:
            return open_image(cut, [] if lenient else None).width == 300
        except UserError:
            return False

    wanted = [False, True] * 200
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(read, wanted, timeout=60)) == wanted


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_a_thumbnail_is_the_small_image(tmp_path: Path, mode: str) -> None:
    coarse = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)
    path = tmp_path / "large.jpg"
    Image.fromarray(coarse).resize((1800, 1200), Image.Resampling.BICUBIC).convert(mode).save(path, quality=95)
    small = open_thumbnail(path, 90)
    assert (small.mode, small.size) == ("RGB", (90, 60))
    expected = Image.open(path).convert("RGB").resize((90, 60), Image.Resampling.BOX)
    assert np.abs(np.asarray(small).astype(float) - np.asarray(expected)).mean() < 2


def test_what_there_is_of_a_truncated_image_is_its_thumbnail(cut: Path) -> None:
    assert open_thumbnail(cut, 30).size == (30, 20)


def test_a_header_is_checked_without_the_pixels(cut: Path) -> None:
    check_header(cut)
    cut.write_bytes(cut.read_bytes()[:100])
    with pytest.raises(UserError, match=r"cut\.jpg: not a readable image"):
        check_header(cut)


@pytest.mark.parametrize("value", [200, 100_000, 0.5])
def test_pixels_of_32_bits_are_refused(tmp_path: Path, value: float) -> None:
    """Scaled as 16 bits, 200 became 1, 100000 wrapped round to 133 and floats became 0."""
    path = tmp_path / "a.tif"
    Image.fromarray(np.full((8, 8), value, np.float32 if isinstance(value, float) else np.int32)).save(path)
    with pytest.raises(UserError, match=r"a\.tif: not a readable image \(. pixels of 32 bits have no known range"):
        open_image(path)


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.pgm"])
def test_16_bit_grey_is_scaled_in_every_format(tmp_path: Path, name: str) -> None:
    grey = np.arange(64, dtype=np.uint16).reshape(8, 8) * 257 * 4
    if name.endswith(".pgm"):  # older Pillow reads this format but does not write it
        (tmp_path / name).write_bytes(b"P5 8 8 65535\n" + grey.astype(">u2").tobytes())
    else:
        Image.fromarray(grey).save(tmp_path / name)
    np.testing.assert_array_equal(np.asarray(open_image(tmp_path / name))[..., 0], grey // 257)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")
def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.png")
    with pytest.raises(UserError, match=r"x\.png: not a readable image \(not a regular file\)"):
        open_image(tmp_path / "x.png")
