"""Makes training images and a test set with pseudo-scores from a folder of photos: python -m data.photo_set.

Some photos become the references of the test set `<out>/pseudo_scores/`, a folder with a labels.csv. It contains each
reference with all 24 distortion types at all 5 levels. The other photos become the training images in
`<out>/KADIS700/ref_imgs/`. No photo is in both. The scores are PSEUDO-SCORES (SSIM mapped to 1..5), not human scores.
"""

import csv
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from skimage.metrics import structural_similarity
from tqdm import tqdm

from data.kadis700 import sample_generator
from models.errors import UserError
from models.files import write_folder
from models.image_file import find_images, open_image
from models.preprocess import to_tensor
from utils.command import run_command
from utils.config.command_line import OneLineParser, integer, nonempty_path
from utils.distortions import DISTORTIONS, NUM_LEVELS

Pixels = NDArray[np.uint8]
TEST_SET = "pseudo_scores"
RANGE = (1.0, 5.0)  # of pseudo-scores
SETTINGS = {  # content of dataset.yaml
    "ssim": "# SSIM mapped to this range, not human scores\nscores: pseudo\nrange: [1, 5]\ndirection: higher\n",
    "level": "# the level of degradation, not a human score\nscores: level\nrange: [1, 5]\ndirection: lower\n",
}


def make(photos: Path, out: Path, references: int, seed: int) -> None:
    """Divides the photos at random (seeded) into references and training images, and writes both parts.

    Raises:
        UserError: there are too few photos, two have the same name, one cannot be read, or `out` already exists or
            cannot be written.
    """
    if not photos.is_dir():
        raise UserError(f"{photos}: no such folder; it must contain pristine photos")
    paths, skipped = find_images(photos)
    if skipped:
        print(skipped, file=sys.stderr)
    if len(paths) <= references:
        raise UserError(f"{photos}: found {len(paths)} images; more than --references ({references}) are needed")
    if out.exists():
        raise UserError(f"{out}: already exists; choose a new folder with --out")
    names = [path.stem for path in paths]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise UserError(f"{photos}: two photos are named {twice!r}; names without suffix must be unique")
    held_out = set(np.random.default_rng(seed).permutation(len(paths))[:references].tolist())

    def fill(inside: Path) -> None:
        references = {path.stem: path for i, path in enumerate(paths) if i in held_out}
        make_degraded_copies(references, inside / TEST_SET, seed)
        for i, path in enumerate(paths):
            if i not in held_out:
                copy = inside / "KADIS700" / "ref_imgs" / path.relative_to(photos)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, copy)

    write_folder(out, fill)


def make_degraded_copies(
    photos: Mapping[str, Path | Pixels],
    folder: Path,
    seed: int,
    types: Sequence[str] = tuple(DISTORTIONS),
    levels: Sequence[int] = range(1, 1 + NUM_LEVELS),
    score: Literal["ssim", "level"] = "ssim",
) -> tuple[list[str], list[str]]:
    """Writes a dataset: images/ with each reference at some levels of some types, labels.csv and dataset.yaml.

    Args:
        photos: the references, name -> path or H x W x 3 pixels.
        folder: folder of the dataset; must not exist.
        seed: random seed of the distortions.
        types: distortion types.
        levels: levels of each type, from 1 to 5.
        score: "ssim": pseudo-scores, SSIM mapped from [0, 1] to 1..5. They serve to check that a pipeline runs and
            learns. "level": the level of degradation, 1 to 5, lower is better. Neither is a human score.

    Returns:
        The names of the images, and of the reference of each.
    """
    (folder / "images").mkdir(parents=True)
    copies = [(kind, level) for kind in types for level in levels]
    rows: list[tuple[str, str, str, str, str, int]] = []
    with tqdm(total=len(photos) * len(copies), desc="distorting", unit="image", disable=None) as bar:
        for number, (reference, photo) in enumerate(photos.items()):
            pixels = np.asarray(open_image(photo)) if isinstance(photo, Path) else photo
            for kind, level in copies:
                generator = sample_generator(seed, number, 10 * list(DISTORTIONS).index(kind) + level)
                copy = distorted(pixels, kind, level, generator)
                name = f"images/{reference}_{kind}_{level}.png"
                Image.fromarray(copy).save(folder / name)
                value = _ssim(pixels, copy) if score == "ssim" else str(level)
                rows.append((name, value, reference, kind, DISTORTIONS[kind].group, level))
                bar.update()
    write_csv(folder / "labels.csv", [("image", "score", "reference", "type", "group", "level"), *rows])
    (folder / "dataset.yaml").write_text(SETTINGS[score], encoding="utf-8")
    return [row[0] for row in rows], [row[2] for row in rows]


def _ssim(reference: Pixels, copy: Pixels) -> str:
    ssim = float(structural_similarity(reference, copy, channel_axis=2))
    lowest, highest = RANGE
    return f"{lowest + (highest - lowest) * max(0.0, ssim):.4f}"


def distorted(reference: Pixels, kind: str, level: int, generator: torch.Generator) -> Pixels:
    """Returns a distorted copy of an H x W x 3 photo, with one distortion type at a level from 1 (mildest) to 5."""
    distortion = DISTORTIONS[kind]
    image = distortion(to_tensor(Image.fromarray(reference)), distortion.levels[level - 1], generator)
    return (image * 255).round().byte().permute(1, 2, 0).numpy()


def write_csv(path: Path, rows: Sequence[Sequence[object]]) -> None:
    """Writes rows of fields, first the columns' names."""
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)


def main() -> None:
    parser = OneLineParser(prog="python -m data.photo_set", description=__doc__)
    add = parser.add_argument
    add("--photos", type=nonempty_path, required=True, help="folder of pristine photos (read only)")
    add("--out", type=nonempty_path, required=True, help="new folder for the result, to use as data_base_path")
    add("--references", type=integer(1, 100_000), default=30, help="photos for the test set (%(default)s)")
    add("--seed", type=integer(0, 2**32 - 1), default=27, help="random seed (%(default)s)")
    arguments = parser.parse_args()
    make(arguments.photos, arguments.out, arguments.references, arguments.seed)
    print(f"{arguments.out}: created training images and {TEST_SET}, with pseudo-scores (SSIM), not human scores")


if __name__ == "__main__":
    run_command(main)
