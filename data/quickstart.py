"""A small data folder in the standard layouts, from photos that installed packages carry: python -m data.quickstart.

`KADIS700/ref_imgs/` gets tiles of seven colour photos, and `KADID10K/` a small synthetic set made from other parts of
the same photos by our own degradation model. Its scores are PSEUDO-SCORES, a full-reference measure (SSIM) mapped to
1..5: they check that the pipeline runs and learns. They are not human scores and say nothing about human judgement.
"""

import argparse
import csv
import shutil
from pathlib import Path

import numpy as np
import skimage.data
from PIL import Image
from sklearn.datasets import load_sample_image
from tqdm import tqdm

from data.kadis700 import sample_generator
from data.pseudo_scores import distorted, pseudo_score
from data.split_files import make_splits, save_splits
from utils.errors import UserError, run_command

FOLDER = "quickstart_data"
SEED = 27
REFERENCE = 128  # side of a reference image: the right end of each photo, which no training tile touches
TILE, STRIDE = 128, 56  # side and distance of the training tiles
LEVELS = (1, 3, 5)
# Types of each group, with KADID-10k's numbers for them: so few that the whole job takes minutes.
KADID_TYPES = {
    "gaublur": 1, "motionblur": 3, "colordiff": 4, "jpeg2000": 9, "jpeg": 10, "whitenoise": 11, "brighten": 16,
    "darken": 17, "pixelate": 21, "highsharpen": 24,
}  # fmt: skip


def make(folder: Path) -> None:
    """Makes the whole folder anew; it appears only when it is complete.

    Raises:
        UserError: `folder` exists and was not made by this command, or cannot be written.
    """
    note = folder / "PSEUDO_SCORES.txt"
    if folder.exists() and not note.exists():
        raise UserError(f"{folder}: exists and is not a quickstart folder; name another with --data_base_path")
    partial = folder.with_name(f"{folder.name}.partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        photos = load_photos()
        make_training_tiles(photos, partial / "KADIS700" / "ref_imgs")
        make_test_set(photos, partial / "KADID10K")
        (partial / note.name).write_text((__doc__ or "").split("\n\n", 1)[1], encoding="utf-8")
        shutil.rmtree(folder, ignore_errors=True)
        partial.replace(folder)
    except OSError as error:
        raise UserError(f"{folder}: cannot be written ({error})") from error


def load_photos() -> dict[str, np.ndarray]:
    """The seven colour photos, name -> H x W x 3 uint8: two from scikit-learn, five from scikit-image."""
    photos = {name: load_sample_image(f"{name}.jpg") for name in ("china", "flower")}
    photos |= {name: getattr(skimage.data, name)() for name in ("astronaut", "chelsea", "coffee", "rocket")}
    photos["motorcycle_left"] = skimage.data.stereo_motorcycle()[0]
    return photos


def make_training_tiles(photos: dict[str, np.ndarray], folder: Path) -> None:
    """Overlapping tiles of each photo but for its right end."""
    folder.mkdir(parents=True)
    for name, photo in photos.items():
        height, width = photo.shape[0], photo.shape[1] - REFERENCE
        for y in range(0, height - TILE + 1, STRIDE):
            for x in range(0, width - TILE + 1, STRIDE):
                Image.fromarray(photo[y : y + TILE, x : x + TILE]).save(folder / f"{name}_{y:03d}_{x:03d}.png")


def make_test_set(photos: dict[str, np.ndarray], folder: Path) -> None:
    """A set in KADID-10k's layout: one reference a photo, distorted by every type at three levels."""
    images = folder / "images"
    images.mkdir(parents=True)
    rows = []
    jobs = [(n, kind, level) for n in range(len(photos)) for kind in KADID_TYPES for level in LEVELS]
    references = [photo[-REFERENCE:, -REFERENCE:] for photo in photos.values()]
    for number, reference in enumerate(references):
        Image.fromarray(reference).save(images / f"I{number + 1:02d}.png")
    for number, kind, level in tqdm(jobs, desc="distorting", unit="image", disable=None):
        generator = sample_generator(SEED, KADID_TYPES[kind], number * 10 + level)
        copy = distorted(references[number], kind, level, generator)
        name = f"I{number + 1:02d}_{KADID_TYPES[kind]:02d}_{level:02d}.png"
        Image.fromarray(copy).save(images / name)
        rows.append((name, f"I{number + 1:02d}.png", f"{pseudo_score(references[number], copy):.4f}"))
    with (folder / "dmos.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("dist_img", "ref_img", "dmos"), *rows])
    names = [name for name, _, _ in rows]
    splits = make_splits(len(rows), [reference for _, reference, _ in rows], SEED)
    save_splits(folder / "splits", splits, names)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m data.quickstart", description=__doc__)
    parser.add_argument("--data_base_path", type=Path, default=Path(FOLDER), help="folder to make (%(default)s)")
    folder = parser.parse_args().data_base_path
    make(folder)
    count = len(list((folder / "KADIS700" / "ref_imgs").iterdir()))
    print(f"{folder}: {count} training tiles and a KADID-10k-style set with pseudo-scores (SSIM), not human scores")


if __name__ == "__main__":
    run_command(main)
