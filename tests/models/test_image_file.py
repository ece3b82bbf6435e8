"""models.image_file: which files are read, as which pixels, and what each refusal says."""

import os
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile

from models.errors import ImageError
from models.image_file import FORMATS, check_header, find_images, open_image, open_thumbnail, to_rgb

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
RGB = Image.fromarray(PIXELS)
GREY = np.asarray(RGB.convert("L"))
SIXTEEN = GREY.astype(np.uint16) * 257
THREE = np.repeat(GREY[..., None], 3, axis=2)
ROTATED = Image.Exif()
ROTATED[0x0112] = 6  # by 90 degrees


def packed_12_bits(values: np.ndarray) -> bytes:
    """Two samples in three bytes."""
    pairs = values.reshape(-1, 2).astype(np.uint32)
    both = pairs[:, 0] << 12 | pairs[:, 1]
    return np.stack([both >> 16, both >> 8 & 255, both & 255], axis=1).astype(np.uint8).tobytes()


def tiff(data: bytes, bits: int, photometric: int = 1) -> bytes:
    """An uncompressed grey TIFF of 60 x 40 pixels with that many bits a sample."""
    tags = {256: 60, 257: 40, 258: bits, 259: 1, 262: photometric, 273: 8, 277: 1, 278: 40, 279: len(data)}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    return b"II*\0" + struct.pack("<I", 8 + len(data)) + data + struct.pack("<H", len(tags)) + entries + bytes(4)


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_with(path: Path, extra: bytes) -> None:
    """A PNG with a chunk between header and pixels."""
    RGB.save(path)
    content = path.read_bytes()
    path.write_bytes(content[:33] + extra + content[33:])


LARGE = zlib.compress(bytes(2**21))  # twice Pillow's own limit
FILES = {  # name -> how to write it, and its pixels
    "rgb.png": (lambda path: RGB.save(path), PIXELS),
    "grey.png": (lambda path: RGB.convert("L").save(path), THREE),
    "16bit.png": (lambda path: Image.fromarray(SIXTEEN).save(path), THREE),
    "16bit.tif": (lambda path: Image.fromarray(SIXTEEN).save(path), THREE),
    "16bit.pgm": (lambda path: path.write_bytes(b"P5 60 40 65535\n" + SIXTEEN.astype(">u2").tobytes()), THREE),
    "12bit.tif": (lambda path: path.write_bytes(tiff(packed_12_bits((GREY / 255 * 4095).round()), 12)), THREE),
    "white is 0.tif": (lambda path: path.write_bytes(tiff((65535 - SIXTEEN).astype("<u2").tobytes(), 16, 0)), THREE),
    "palette.png": (lambda path: RGB.quantize(16).save(path), np.asarray(RGB.quantize(16).convert("RGB"))),
    "alpha.png": (lambda path: Image.fromarray(np.dstack([PIXELS, GREY])).save(path), PIXELS),
    "cmyk.tif": (lambda path: RGB.convert("CMYK").save(path), np.asarray(RGB.convert("CMYK").convert("RGB"))),
    "exif.png": (lambda path: RGB.save(path, exif=ROTATED), PIXELS),
    "ünïcode 图.png": (lambda path: RGB.save(path), PIXELS),
    "large text.png": (lambda path: png_with(path, chunk(b"zTXt", b"a\0\0" + LARGE)), PIXELS),
    "large profile.png": (lambda path: png_with(path, chunk(b"iCCP", b"a\0\0" + LARGE)), PIXELS),
}


@pytest.mark.parametrize("name", FILES)
def test_the_pixels_of_a_file(tmp_path: Path, name: str) -> None:
    write, expected = FILES[name]
    write(tmp_path / name)
    truncated: list[str] = []
    for image in (open_image(tmp_path / name), open_image(tmp_path / name, truncated)):
        assert image.mode == "RGB" and truncated == []
        np.testing.assert_array_equal(np.asarray(image), expected)
    assert check_header(tmp_path / name) == (60, 40)


@pytest.mark.parametrize("suffix", FORMATS)
def test_the_suffixes_of_images(tmp_path: Path, suffix: str) -> None:
    smooth = Image.linear_gradient("L").resize((60, 40)).convert("1" if suffix == ".pbm" else "RGB")
    smooth.save(tmp_path / f"a{suffix}", FORMATS[suffix])
    difference = np.asarray(open_image(tmp_path / f"a{suffix}")).astype(int) - np.asarray(smooth.convert("RGB"))
    assert np.abs(difference).mean() < 6
    assert find_images(tmp_path)[0] == [tmp_path / f"a{suffix}"]


def cut(path: Path) -> Path:
    RGB.resize((300, 200)).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return path


REFUSED = {
    "missing.png": lambda path: None,
    "folder.png": lambda path: path.mkdir(),
    "empty.png": lambda path: path.write_bytes(b""),
    "cut.jpg": cut,
    "32bit.tif": lambda path: Image.fromarray(GREY.astype(np.int32)).save(path),
    "float.tif": lambda path: Image.fromarray(GREY.astype(np.float32)).save(path),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_refusal_is_one_line(tmp_path: Path, name: str) -> None:
    REFUSED[name](tmp_path / name)
    with pytest.raises(ImageError) as error:
        open_image(tmp_path / name)
    assert str(error.value).startswith(f"{tmp_path / name}: not a readable image (") and "\n" not in str(error.value)


def test_no_other_program_is_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow gives EPS files to Ghostscript, whatever their suffix."""
    started = tmp_path / "started"
    program = tmp_path / "gs"
    program.write_text(f"#!/bin/sh\ntouch {started}\nexit 1\n", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    RGB.save(tmp_path / "a.eps")
    (tmp_path / "a.eps").rename(tmp_path / "x.png")
    for truncated in (None, []):
        with pytest.raises(ImageError, match=r"x\.png: not a readable image"):
            open_image(tmp_path / "x.png", truncated)
    assert not started.exists()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")
def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.png")
    with pytest.raises(ImageError, match=r"x\.png: not a readable image \(not a regular file\)"):
        open_image(tmp_path / "x.png")


def test_an_opened_image_that_cannot_be_decoded_is_one_line(tmp_path: Path) -> None:
    for image in (Image.open(cut(tmp_path / "cut.png")), Image.fromarray(GREY.astype(np.float32))):
        with pytest.raises(ImageError, match=r"images\[3\]: not a readable image"):
            to_rgb(image, "images[3]")


def test_a_truncated_image_is_read_as_pillow_reads_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, truncated = cut(tmp_path / "cut.jpg"), []
    found = np.asarray(open_image(path, truncated))
    (line,) = truncated
    assert line.startswith(f"{path}: truncated") and "\n" not in line
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    np.testing.assert_array_equal(found, np.asarray(Image.open(path).convert("RGB")))


@pytest.mark.parametrize("before", [False, True])
def test_pillows_settings_are_as_before_after_every_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: bool
) -> None:
    path = cut(tmp_path / "cut.jpg")
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", before)
    open_image(path, [])
    with pytest.raises(ImageError, match=r"cut\.jpg: not a readable image \(image file is truncated"):
        open_image(path)  # also if the program that uses this one has set the flag
    assert ImageFile.LOAD_TRUNCATED_IMAGES is before


def test_threads_do_not_see_each_others_settings(tmp_path: Path) -> None:
    path = cut(tmp_path / "cut.jpg")

    def read(lenient: bool) -> bool:
        try:
            return open_image(path, [] if lenient else None).width == 300
        except ImageError:
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
    assert open_thumbnail(cut(tmp_path / "cut.jpg"), 30).size == (30, 20)


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege")
def test_folders_are_searched_through_links_and_other_files_are_counted(tmp_path: Path) -> None:
    photos, elsewhere = tmp_path / "photos", tmp_path / "elsewhere"
    for path in (photos / "b.PNG", photos / "sub" / "a.jpg", elsewhere / "c.png"):
        path.parent.mkdir(parents=True, exist_ok=True)
        RGB.save(path)
    for name in ("notes.txt", "more.txt", "README"):
        (photos / name).touch()
    (photos / "link").symlink_to(elsewhere, target_is_directory=True)
    (elsewhere / "back").symlink_to(photos, target_is_directory=True)  # a loop
    found, skipped = find_images(photos)
    assert found == [photos / "b.PNG", photos / "link" / "c.png", photos / "sub" / "a.jpg"]
    assert skipped.endswith("2 .txt, 1 no suffix") and str(photos) in skipped
