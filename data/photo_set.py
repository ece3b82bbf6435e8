"""Makes training images and a test set with pseudo-scores from a folder of photos: python -m data.photo_set.

Some photos become the references of the test set `<out>/pseudo_scores/`, a folder with a labels.csv. It contains each
reference with all 24 distortion types at all 5 levels. The other photos become the training images in
`<out>/KADIS700/ref_imgs/`. No photo is in both. The scores are PSEUDO-SCORES (SSIM mapped to 1..5), not human scores.
"""

import csv
import shutil
import sys
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from data.kadis700 import sample_generator
from data.pseudo_scores import RANGE, distorted, pseudo_score
from models.errors import UserError
from models.files import write_folder
from models.image_file import find_images, open_image
from utils.command import run_command
from utils.config.command_line import OneLineParser, integer, nonempty_path
from utils.distortions import DISTORTIONS, NUM_LEVELS

TEST_SET = "pseudo_scores"


def make(photos: Path, out: Path, references: int, seed: int) -> None:
    """Divides the photos at random (seeded) into references and training images, and writes both parts.

    Raises:
        UserError: there are too few photos, two have the same name, one cannot be read, or `out` already exists or
            cannot be written.
    """
    if references < 1:
        raise UserError(f"--references: {references} is too small; use at least 1 (at least 3 for splits)")
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
        make_test_set([path for i, path in enumerate(paths) if i in held_out], inside / TEST_SET, seed)
        for i, path in enumerate(paths):
            if i not in held_out:
                copy = inside / "KADIS700" / "ref_imgs" / path.relative_to(photos)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, copy)

    write_folder(out, fill)


def make_test_set(references: list[Path], folder: Path, seed: int) -> None:
    """Writes images/ with every reference at every type and level, labels.csv and dataset.yaml."""
    (folder / "images").mkdir(parents=True)
    seed_of = {kind: 10 * i for i, kind in enumerate(DISTORTIONS)}
    copies = [(kind, level) for kind in DISTORTIONS for level in range(1, 1 + NUM_LEVELS)]
    rows = []
    with tqdm(total=len(references) * len(copies), desc="distorting", unit="image", disable=None) as bar:
        for number, path in enumerate(references):
            reference = np.asarray(open_image(path))
            for kind, level in copies:
                copy = distorted(reference, kind, level, sample_generator(seed, number, seed_of[kind] + level))
                name = f"images/{path.stem}_{kind}_{level}.png"
                Image.fromarray(copy).save(folder / name)
                score = f"{pseudo_score(reference, copy):.4f}"
                rows.append((name, score, path.stem, kind, DISTORTIONS[kind].group, level))
                bar.update()
    with (folder / "labels.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("image", "score", "reference", "type", "group", "level"), *rows])
    settings = "# SSIM mapped to this range, not human scores\nscores: pseudo\nrange: [{:g}, {:g}]\ndirection: higher\n"
    (folder / "dataset.yaml").write_text(settings.format(*RANGE), encoding="utf-8")


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
