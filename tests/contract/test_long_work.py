"""Long work that is stopped goes on where it was. What two processes at once do is in test_two_at_once.py."""

import os
from pathlib import Path

import numpy as np
from PIL import Image

from tests.contract.runs import quick, training


def noise(path: Path, seed: int) -> Path:
    pixels = np.random.default_rng(seed).integers(0, 256, (48, 48, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path, compression="tiff_deflate")
    return path


def spoiled(content: bytes) -> bytes:
    """A compressed TIFF file of the same size whose header can be read, but not its pixels."""
    part = len(content) // 3
    return content[:part] + bytes(part) + content[2 * part :]


def test_after_an_unreadable_image_is_replaced_only_its_features_are_extracted(folder: Path, released: Path) -> None:
    own = folder / "data" / "replaced"
    own.mkdir()
    images = [noise(own / f"{i:02d}.tif", i) for i in range(30)]
    rows = [f"{image.name},{i}" for i, image in enumerate(images)]
    (own / "labels.csv").write_text("\n".join(["image,score", *rows]) + "\n", encoding="utf-8")
    whole = images[5].read_bytes()
    images[5].write_bytes(spoiled(whole))
    options = ("--eval_type", "arniqa", "--test.datasets", "replaced", "--test.crop_size", 32)
    failed = quick(folder, "test.py", *training("replace", *options), ARNIQA_WEIGHTS_DIR=released)
    assert failed.code == 1 and "05.tif" in failed.err and "1 of 30" in failed.err, failed.err
    for image in images:  # an image that is read again is now unreadable too
        about = image.stat()
        image.write_bytes(whole if image == images[5] else spoiled(image.read_bytes()))
        os.utime(image, ns=(about.st_atime_ns, about.st_mtime_ns + (image == images[5])))
    done = quick(folder, "test.py", *training("replace", *options), ARNIQA_WEIGHTS_DIR=released)
    assert done.code == 0, done.err
