"""The optional decoders give Pillow's pixels and Pillow's errors, and a broken one changes nothing."""

import struct
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageFile

from data.kadis700 import KADIS700Dataset
from tests.processes import run
from utils import fast_decoders
from utils.distortions import DISTORTIONS
from utils.errors import UserError
from utils.image import open_image, read_pixels

ROOT = Path(__file__).resolve().parents[2]
PIXELS = np.random.default_rng(0).integers(0, 256, (21, 30, 3), dtype=np.uint8)
PIXELS[5:15] //= 32  # so that the file has flat parts too
RGB = Image.fromarray(PIXELS)
needs_imagecodecs = pytest.mark.skipif(
    fast_decoders.imagecodecs is None, reason="the optional package imagecodecs is not installed"
)


def refuse(*_: object, **__: object) -> None:
    raise AssertionError("Pillow decoded the pixels")


def chunk(kind: bytes, body: bytes, checksum: int | None = None) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", checksum or zlib.crc32(kind + body))


def png(*after: bytes, before: bytes = b"", header: bytes = b"\x08\x02\0\0\0", rows: bytes | None = None) -> bytes:
    """A PNG of PIXELS, written by hand: chunks before and after the pixels, another header, or other pixel data."""
    if rows is None:
        rows = zlib.compress(b"".join(b"\0" + row.tobytes() for row in PIXELS))
    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">II", 30, 21) + header)
    return start + before + chunk(b"IDAT", rows) + b"".join(after)


def interlaced() -> bytes:
    passes = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
    rows = [b"\0" + row.tobytes() for y, x, dy, dx in passes for row in PIXELS[y::dy, x::dx]]
    return png(END, header=b"\x08\x02\0\0\1", rows=zlib.compress(b"".join(rows)))


END = chunk(b"IEND", b"")
TEXT = chunk(b"tEXt", b"date:create\x002026-01-01")
ROWS = zlib.compress(b"".join(b"\0" + row.tobytes() for row in PIXELS))
HALVES = chunk(b"IDAT", ROWS[:500]), chunk(b"IDAT", ROWS[500:])
START = png()[:33]
# name of the file -> bytes; each is read both ways
FILES = {
    "plain.png": png(END),
    "in two chunks.png": START + b"".join(HALVES) + END,
    "text between the chunks.png": START + HALVES[0] + TEXT + HALVES[1] + END,
    "text after the pixels.png": png(TEXT, chunk(b"tIME", bytes(7)), END),
    "cut text after the pixels.png": png(TEXT[:-9]),
    "broken text after the pixels.png": png(chunk(b"iTXt", b"a\0\1\1"), chunk(b"zTXt", b"a\0\1x"), END),
    "no end.png": png(),
    "no pixels.png": START + TEXT + END,
    "bytes after the end.png": png(END) + b"more",
    "gamma.png": png(END, before=chunk(b"gAMA", struct.pack(">I", 100000))),
    "wrong gamma checksum.png": png(END, before=chunk(b"gAMA", struct.pack(">I", 100000), 7)),
    "cut gamma.png": png(END, before=chunk(b"gAMA", b"\1")),
    "one transparent colour.png": png(END, before=chunk(b"tRNS", struct.pack(">3H", *PIXELS[0, 0].tolist()))),
    "interlaced.png": interlaced(),
    "animated, one frame.png": png(
        END,
        before=chunk(b"acTL", bytes((0, 0, 0, 1)) + bytes(4))
        + chunk(b"fcTL", struct.pack(">5I2H2B", 0, 30, 21, *[0] * 6)),
    ),
    "end cut.png": png(chunk(b"IEND", bytes(50))[:20]),
    "wrong pixel checksum.png": START + chunk(b"IDAT", ROWS, 7) + END,
    "wrong checksum of the stream.png": png(END, rows=ROWS[:-4] + b"1234"),
    "too few rows.png": png(END, rows=zlib.compress(b"\0" + PIXELS[0].tobytes())),
    "too many rows.png": png(END, rows=zlib.compress(zlib.decompress(ROWS) * 2)),
    "unknown filter.png": png(END, rows=zlib.compress(b"\x09" + zlib.decompress(ROWS)[1:])),
    "not deflated.png": png(END, rows=b"x" * 900),
    "cut.png": png(END)[:700],
    "cut header.png": png(END)[:20],
    "no size.png": png(END).replace(struct.pack(">II", 30, 21), bytes(8)),
    "huge.png": START[:8] + chunk(b"IHDR", struct.pack(">II", 60000, 60000) + b"\x08\x02\0\0\0") + png(END)[33:],
    "16 bits.png": png(END, header=b"\x10\x02\0\0\0", rows=zlib.compress((b"\0" + bytes(range(180))) * 21)),
    "grey.png": png(END, header=b"\x08\0\0\0\0", rows=zlib.compress((b"\0" + bytes(range(30))) * 21)),
    "16 bits of grey.png": png(END, header=b"\x10\0\0\0\0", rows=zlib.compress((b"\0" + bytes(range(60))) * 21)),
    "empty.png": b"",
    "text.png": b"no image",
}
SAVED = {
    "animated.png": (RGB, {"save_all": True, "append_images": [RGB.rotate(9)]}),
    "alpha.png": (RGB.convert("RGBA"), {}),
    "grey and alpha.png": (RGB.convert("LA"), {}),
    "palette.png": (RGB.quantize(16), {}),
    "black and white.png": (RGB.convert("1"), {}),
    "filtered.png": (RGB.resize((300, 200)), {"compress_level": 9}),
    "one pixel.png": (RGB.crop((0, 0, 1, 1)), {}),
    "a photo.jpg": (RGB, {}),
    "full colour.jpg": (RGB, {"subsampling": 0, "quality": 95}),
    "half colour.jpg": (RGB, {"subsampling": 1, "restart_marker_rows": 1}),
    "rgb.jpg": (RGB, {"keep_rgb": True}),
    "grey.jpg": (RGB.convert("L"), {}),
    "progressive.jpg": (RGB, {"progressive": True, "quality": 95}),
    "cmyk.jpg": (RGB.convert("CMYK"), {}),
    "a.gif": (RGB, {}),
    "a.webp": (RGB, {}),
    "a.tif": (RGB, {}),
    "a.bmp": (RGB, {}),
    "a.jp2": (RGB, {}),
}


def outcome(path: Path, read: object) -> object:
    """The pixels, or the message of the error."""
    try:
        return np.asarray(read(path)).tolist()
    except UserError as error:
        return str(error)


def assert_same_as_pillow(path: Path) -> None:
    assert outcome(path, lambda p: read_pixels(p).permute(1, 2, 0)) == outcome(path, open_image)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    rng = np.random.default_rng(1)
    for i in range(4):
        Image.fromarray(rng.integers(0, 256, (70, 90, 3), dtype=np.uint8)).save(tmp_path / f"{i}.png")
    return tmp_path


@needs_imagecodecs
@pytest.mark.parametrize("name", ["plain.png", "in two chunks.png", "text after the pixels.png", "gamma.png"])
def test_pillow_decodes_no_ordinary_png(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / name).write_bytes(FILES[name])
    monkeypatch.setattr(ImageFile.ImageFile, "load", refuse)
    np.testing.assert_array_equal(read_pixels(tmp_path / name).permute(1, 2, 0).numpy(), PIXELS)


@needs_imagecodecs
@pytest.mark.parametrize("size", [(1, 1), (8, 8), (17, 30), (64, 33), (321, 200)])
@pytest.mark.parametrize("subsampling", [0, 1, 2])
def test_pillow_decodes_no_ordinary_jpeg(
    size: tuple[int, int], subsampling: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.jpg"
    RGB.resize(size).save(path, quality=80, subsampling=subsampling)
    expected = np.asarray(open_image(path))
    monkeypatch.setattr(ImageFile.ImageFile, "load", refuse)
    np.testing.assert_array_equal(read_pixels(path).permute(1, 2, 0).numpy(), expected)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("name", FILES)
def test_every_file_gives_the_pixels_or_the_error_of_open_image(name: str, tmp_path: Path) -> None:
    for suffix in ("", ".jpg"):  # also with the wrong suffix
        path = tmp_path / (name + suffix)
        path.write_bytes(FILES[name])
        assert_same_as_pillow(path)


@pytest.mark.parametrize("name", SAVED)
def test_every_kind_of_image_gives_the_pixels_of_open_image(name: str, tmp_path: Path) -> None:
    image, options = SAVED[name]
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate by 90 degrees
    for number, more in enumerate(({}, {"exif": exif})):
        image.save(tmp_path / f"{number} {name}", **options, **({} if name.endswith((".bmp", ".gif")) else more))
        assert_same_as_pillow(tmp_path / f"{number} {name}")
        (tmp_path / f"{number} {name}").rename(tmp_path / f"{number} {name}.png")  # the wrong suffix
        assert_same_as_pillow(tmp_path / f"{number} {name}.png")


@needs_imagecodecs
def test_damaged_files_give_the_pixels_or_the_error_of_open_image(tmp_path: Path) -> None:
    rng, path = np.random.default_rng(2), tmp_path / "a.png"
    whole = [png(TEXT, END), START + b"".join(HALVES) + END]
    for suffix, options in (("png", {}), ("jpg", {}), ("jpg", {"restart_marker_rows": 1}), ("jpg", {"progressive": 1})):
        RGB.resize((60, 40)).save(tmp_path / f"whole.{suffix}", **options)
        whole.append((tmp_path / f"whole.{suffix}").read_bytes())
    for data in whole:
        for _ in range(120):
            damaged = bytearray(data)
            position = int(rng.integers(len(data)))
            if rng.random() < 0.7:
                damaged[position] ^= 1 << int(rng.integers(8))
            else:
                del damaged[position : position + int(rng.integers(1, 2000))]
            path.write_bytes(damaged)
            assert_same_as_pillow(path)


@needs_imagecodecs
@pytest.mark.parametrize("damage", [b"\xff\xc4\xff\xff", b"\xff\xe1\xff\xff", b"\xff\xd9\xff\xd9", b"\xff\xd3"])
def test_a_marker_among_the_pixels_of_a_jpeg_gives_the_pixels_or_the_error_of_open_image(
    damage: bytes, tmp_path: Path
) -> None:
    """A segment that reaches beyond the end: libjpeg alone gave a picture where Pillow refuses the file."""
    for options in ({}, {"restart_marker_rows": 1}, {"progressive": True}):
        RGB.resize((200, 150)).save(tmp_path / "a.jpg", **options)
        data = (tmp_path / "a.jpg").read_bytes()
        for part in range(30, 100, 7):
            (tmp_path / "b.jpg").write_bytes(data[: len(data) * part // 100] + damage + data[len(data) * part // 100 :])
            assert_same_as_pillow(tmp_path / "b.jpg")


def test_missing_files_and_folders_give_the_error_of_open_image(tmp_path: Path) -> None:
    assert_same_as_pillow(tmp_path / "missing.png")
    assert_same_as_pillow(tmp_path)


@needs_imagecodecs
@pytest.mark.parametrize("name", ["jpeg", "jpeg2000"])
def test_codecs_distort_as_with_pillow_at_every_level_and_size(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for height, width in ((1, 1), (2, 3), (7, 5), (16, 33), (65, 47), (127, 129), (224, 224)):
        image = torch.rand(3, height, width, generator=torch.Generator().manual_seed(height))
        for smooth in (image, torch.nn.functional.avg_pool2d(image, 5, 1, 2)):
            for level in DISTORTIONS[name].levels:
                with monkeypatch.context() as patch:
                    patch.setattr(Image, "open", refuse)  # so that Pillow does not decode
                    fast = DISTORTIONS[name](smooth, level, torch.Generator())
                with monkeypatch.context() as patch:
                    patch.setattr(fast_decoders, "imagecodecs", None)
                    assert torch.equal(fast, DISTORTIONS[name](smooth, level, torch.Generator()))


class Wrong:
    """A broken decoder: no function fails, and none gives an image."""

    def __getattr__(self, name: str) -> object:
        return lambda *_, **__: np.zeros((2, 2, 3), np.uint8)


class Failing:
    """A broken decoder: every function fails."""

    def __getattr__(self, name: str) -> object:
        raise OSError("libopenjp2.so: cannot open shared object file")


@pytest.mark.parametrize("broken", [None, object(), Failing(), Wrong()], ids=["absent", "half", "failing", "wrong"])
def test_samples_are_the_same_with_a_broken_decoder_or_none(
    broken: object, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = KADIS700Dataset(photos, patch_size=48, images_folder=".")

    def samples() -> Iterator[torch.Tensor]:
        for index in range(16):
            sample = dataset[index, index % 4]
            yield from (value for value in sample.values() if isinstance(value, torch.Tensor))

    installed = list(samples())
    monkeypatch.setattr(fast_decoders, "imagecodecs", broken)
    assert all(torch.equal(a, b) for a, b in zip(installed, samples(), strict=True))


@pytest.mark.parametrize("content", [None, "raise OSError('no such library')", "1 +", "import no_such_module"])
def test_a_package_that_cannot_be_imported_breaks_nothing(content: str | None, photos: Path, tmp_path: Path) -> None:
    """None: an empty folder, which is what a failed removal leaves."""
    package = tmp_path / "packages" / "imagecodecs"
    package.mkdir(parents=True)
    if content is not None:
        (package / "__init__.py").write_text(content, encoding="utf-8")
    script = (
        f"import sys; sys.path.insert(0, {str(package.parent)!r}); from pathlib import Path; "
        f"from utils.image import read_pixels; print(tuple(read_pixels(Path({str(photos / '0.png')!r})).shape))"
    )
    done = run([sys.executable, "-c", script], cwd=ROOT)
    assert (done.stdout.strip(), done.returncode) == ("(3, 70, 90)", 0), done.stderr
