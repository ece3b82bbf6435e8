"""data.fast_png: imagecodecs gives Pillow's pixels, and whatever it does not read, Pillow reads or refuses."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data import fast_png
from models.errors import ImageError
from models.image_file import open_image

PIXELS = np.random.default_rng(0).integers(0, 256, (21, 30, 3), dtype=np.uint8)
PIXELS[5:15] //= 32  # so that the file has flat parts too
RGB = Image.fromarray(PIXELS)
FAST = {
    "plain.png": lambda path: RGB.save(path),
    "dpi.PNG": lambda path: RGB.save(path, "PNG", dpi=(72, 72)),
    "profile.png": lambda path: RGB.save(path, icc_profile=b"any"),
}
SLOW = {
    "photo.jpg": lambda path: RGB.save(path),
    "alpha.png": lambda path: RGB.convert("RGBA").save(path),
    "palette.png": lambda path: RGB.quantize(16).save(path),
    "transparent.png": lambda path: RGB.save(path, transparency=(0, 0, 0)),
    "animated.png": lambda path: RGB.save(path, save_all=True, append_images=[RGB.rotate(180)]),
    "a jpeg.png": lambda path: RGB.save(path, "JPEG"),
}


@pytest.mark.parametrize("name", [*FAST, *SLOW])
def test_the_pixels_are_pillows(tmp_path: Path, name: str) -> None:
    {**FAST, **SLOW}[name](tmp_path / name)
    found = fast_png.read_pixels(tmp_path / name)
    np.testing.assert_array_equal(found.permute(1, 2, 0).numpy(), np.asarray(open_image(tmp_path / name)))
    if fast_png.imagecodecs is not None:
        assert (fast_png.decode_png(tmp_path / name) is not None) == (name in FAST)


def test_damaged_files_are_as_pillow_reads_them(tmp_path: Path) -> None:
    RGB.save(tmp_path / "whole.png")
    content, rng, path = (tmp_path / "whole.png").read_bytes(), np.random.default_rng(0), tmp_path / "damaged.png"
    for i in range(60):
        damaged = bytearray(content)
        if i % 2:
            del damaged[int(rng.integers(len(content))) :]
        else:  # anywhere in the pixels; libpng and Pillow both check them
            damaged[int(rng.integers(45, len(content) - 16))] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        found: list[str] = []
        expected: list[str] = []
        try:
            pixels = np.asarray(open_image(path, expected))
        except ImageError:
            with pytest.raises(ImageError):
                fast_png.read_pixels(path, found)
            continue
        np.testing.assert_array_equal(fast_png.read_pixels(path, found).permute(1, 2, 0).numpy(), pixels)
        assert found == expected


def test_without_the_package_pillow_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    RGB.save(tmp_path / "a.png")
    monkeypatch.setattr(fast_png, "imagecodecs", None)
    assert fast_png.decode_png(tmp_path / "a.png") is None
    np.testing.assert_array_equal(fast_png.read_pixels(tmp_path / "a.png").permute(1, 2, 0).numpy(), PIXELS)
