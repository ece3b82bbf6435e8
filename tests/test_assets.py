"""The example images of assets/: made again from the table in its README.md."""

import re
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image

from data.photo_set import distorted
from models.image_file import open_image

FOLDER = Path(__file__).resolve().parents[1] / "assets"
PAGE = (FOLDER / "README.md").read_text(encoding="utf-8")
LISTED = re.findall(r"^\| (\S+\.png) \| (\w+) \| (\w+) \| (\w+)", PAGE, re.M)
SEED, LONGER_SIDE = (int(re.search(pattern, PAGE)[1]) for pattern in (r"seed (\d+)", r"longer side has (\d+)"))  # type: ignore[index]


def test_readme_lists_every_image() -> None:
    assert [name for name, *_ in LISTED] == sorted(path.name for path in FOLDER.glob("*.png"))


@pytest.mark.parametrize(("name", "photo", "kind", "level"), LISTED)
def test_an_image_is_what_readme_says(name: str, photo: str, kind: str, level: str) -> None:
    image = Image.fromarray(getattr(skimage.data, photo)())
    image.thumbnail((LONGER_SIDE, LONGER_SIDE), Image.Resampling.LANCZOS)
    pixels = np.asarray(image)
    if kind != "none":
        pixels = distorted(pixels, kind, int(level), torch.Generator().manual_seed(SEED))
    difference = np.abs(np.asarray(open_image(FOLDER / name)).astype(float) - pixels)
    assert difference.mean() <= (0 if kind == "none" else 0.5)  # rounding differs between library versions
