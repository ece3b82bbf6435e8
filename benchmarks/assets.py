"""Creates the example images in assets/ and the strip at the top of README.md: python -m benchmarks.assets.

The images are two photos from scikit-image, clean and degraded by our degradation model. The seed is fixed, so the
images are reproducible.
"""

import argparse
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import skimage.data
import torch
from matplotlib.figure import Figure
from PIL import Image

from data.pseudo_scores import Pixels, distorted
from models.errors import UserError
from models.files import write_atomic, write_text
from utils.command import run_command
from utils.distortions import DISTORTIONS

ROOT = Path(__file__).resolve().parents[1]
SEED = 27
LONGEST = 384  # longer side of an example image
CREDITS = {
    "chelsea": "Chelsea the cat, by Stefan van der Walt",
    "coffee": "Coffee cup, by Rachel Michetti, courtesy of Pikolo Espresso Bar",
}
# The strip shows one type from each group at the strongest level.
STRIP = ("gaublur", "colorshift", "jpeg", "whitenoise", "darken", "pixelate", "highsharpen")
STRIP_LEVEL = 5
STRIP_PHOTO_WIDTH = 244
STRIP_BOX = (67, 0, 189, 162)  # left, top, right, bottom of the crop: the cat's face
GAP, LABEL_HEIGHT, DPI = 3, 24, 100  # pixels, pixels, pixels per inch


@dataclass(frozen=True)
class Asset:
    """An example image: a photo from `CREDITS`, clean or with one distortion type at level 1 to 5."""

    photo: str
    kind: str | None = None
    level: int = 0

    def pixels(self) -> Pixels:
        clean = shrunk(self.photo, LONGEST)
        return clean if self.kind is None else degraded(clean, self.kind, self.level)


ASSETS = {
    "01.png": Asset("chelsea"),
    "02.png": Asset("chelsea", "gaublur", 3),
    "03.png": Asset("chelsea", "gaublur", 5),
    "04.png": Asset("coffee"),
    "05.png": Asset("coffee", "jpeg", 3),
    "06.png": Asset("coffee", "jpeg", 5),
    "07.png": Asset("coffee", "impulsenoise", 5),
}


def shrunk(photo: str, longest: int) -> Pixels:
    """The photo resized so that its longer side has `longest` pixels: H x W x 3."""
    image = Image.fromarray(getattr(skimage.data, photo)())
    image.thumbnail((longest, longest), Image.Resampling.LANCZOS)
    return np.asarray(image)


def degraded(clean: Pixels, kind: str, level: int) -> Pixels:
    return distorted(clean, kind, level, torch.Generator().manual_seed(SEED))


def make(folder: Path) -> None:
    """Writes the images and a README.md that lists them."""
    for name, asset in ASSETS.items():
        image = Image.fromarray(asset.pixels())
        write_atomic(folder / name, partial(image.save, format="png", optimize=True))
    write_text(folder / "README.md", page())


def page() -> str:
    """The Markdown page: a description of each image, and the credits of the photos."""
    rows = []
    for name, asset in ASSETS.items():
        what = "none | clean"
        if asset.kind is not None:
            value = DISTORTIONS[asset.kind].levels[asset.level - 1]
            what = f"{asset.kind} | {asset.level} of 5 (value {value:g})"
        rows.append(f"| {name} | {asset.photo} | {what} |")
    credits = [f"| {photo} | {credit} | CC0 | `skimage.data.{photo}()` |" for photo, credit in CREDITS.items()]
    head = [
        "# Example images",
        "",
        "To try the scoring on: `python single_image_inference.py --img_path assets`. Made by",
        "`python -m benchmarks.assets`, which makes them again.",
        "",
        "| file | photo | distortion | level |",
        "|---|---|---|---|",
    ]
    sources = [
        "",
        f"The photos come with scikit-image, whose documentation states their licence. Their longer side is {LONGEST}",
        "pixels here.",
        "",
        "| photo | credit | licence | source |",
        "|---|---|---|---|",
    ]
    return "\n".join([*head, *rows, *sources, *credits, ""])


def draw_strip(path: Path) -> None:
    """Draws one crop of a photo, clean and with each type in `STRIP`, side by side with the names below.

    Raises:
        UserError: the suffix is not an image format, or the file cannot be written.
    """
    left, top, right, bottom = STRIP_BOX
    clean = shrunk("chelsea", STRIP_PHOTO_WIDTH)[top:bottom, left:right]
    cells = [("clean", clean), *((kind, degraded(clean, kind, STRIP_LEVEL)) for kind in STRIP)]
    cell_height, cell_width = clean.shape[:2]
    width, height = len(cells) * (cell_width + GAP) - GAP, cell_height + LABEL_HEIGHT
    figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI)
    for number, (name, pixels) in enumerate(cells):
        x = number * (cell_width + GAP)
        figure.figimage(pixels, x, LABEL_HEIGHT)
        figure.text((x + cell_width / 2) / width, LABEL_HEIGHT / 2 / height, name, ha="center", va="center", fontsize=9)
    try:
        write_atomic(path, lambda file: figure.savefig(file, format=path.suffix[1:], pil_kwargs={"quality": 92}))
    except ValueError as error:  # unknown suffix
        raise UserError(f"{path}: {error}") from error


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.assets", description=__doc__)
    parser.add_argument(
        "--out", type=Path, default=ROOT / "assets", help="output folder for the images (default: %(default)s)"
    )
    parser.add_argument(
        "--strip",
        type=Path,
        default=ROOT / "docs" / "figures" / "strip.jpg",
        help="output file for the strip (default: %(default)s)",
    )
    arguments = parser.parse_args()
    make(arguments.out)
    draw_strip(arguments.strip)
    print(f"written to {arguments.out} and {arguments.strip}")


if __name__ == "__main__":
    run_command(main)
