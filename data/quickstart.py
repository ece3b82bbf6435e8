"""Makes a small data folder in the standard layouts from photos in installed packages: python -m data.quickstart.

`KADIS700/ref_imgs/` contains tiles of seven colour photos. `KADID10K/` contains a small synthetic dataset, made from
other parts of the same photos with this project's degradation model; in each of its splits, three photos are for the
test. Its scores are PSEUDO-SCORES: a full-reference measure (SSIM) mapped to 1..5. They serve to check that the
pipeline runs and learns. They are not human scores and say nothing about human judgement.
"""

from pathlib import Path

import numpy as np
import skimage.data
from PIL import Image
from sklearn.datasets import load_sample_image
from tqdm import tqdm

from data.iqa_dataset import PSEUDO_SCORES
from data.kadis700 import sample_generator
from data.photo_set import save_copy, write_csv
from data.split_files import make_splits, save_splits
from models.errors import UserError
from models.files import write_folder
from utils.command import run_command
from utils.config.command_line import OneLineParser, nonempty_path

FOLDER = "quickstart_data"
SEED = 27
REFERENCE = 128  # side of a reference: the two right corners of a photo; training tiles omit its right strip
TEST_SHARE = 0.4  # of the photos: three of seven, so that a figure does not depend on one photo
TILE, STRIDE = 128, 56  # side of the training tiles, and distance between them
LEVELS = (1, 3, 5)
# Type -> KADID-10k's type number. One or two types per group, so that the whole quickstart takes minutes.
KADID_TYPES = {
    "gaublur": 1, "motionblur": 3, "colordiff": 4, "jpeg2000": 9, "jpeg": 10, "whitenoise": 11, "brighten": 16,
    "darken": 17, "pixelate": 21, "highsharpen": 24,
}  # fmt: skip


def make(folder: Path) -> None:
    """Creates the folder, or replaces it if this command created it. It only appears once it is complete.

    Raises:
        UserError: `folder` exists and was not created by this command, or cannot be written.
    """
    note = folder / PSEUDO_SCORES
    if folder.exists() and not note.exists():
        raise UserError(f"{folder}: exists and is not a quickstart folder; choose another one with --data_base_path")

    def fill(inside: Path) -> None:
        photos = load_photos()
        make_training_tiles(photos, inside / "KADIS700" / "ref_imgs")
        make_test_set(photos, inside / "KADID10K")
        (inside / note.name).write_text((__doc__ or "").split("\n\n", 1)[1], encoding="utf-8")

    write_folder(folder, fill)


def load_photos() -> dict[str, np.ndarray]:
    """Seven colour photos, name -> H x W x 3 uint8: two from scikit-learn, five from scikit-image."""
    photos = {name: load_sample_image(f"{name}.jpg") for name in ("china", "flower")}
    photos |= {name: getattr(skimage.data, name)() for name in ("astronaut", "chelsea", "coffee", "rocket")}
    photos["motorcycle_left"] = skimage.data.stereo_motorcycle()[0]
    return photos


def make_training_tiles(photos: dict[str, np.ndarray], folder: Path) -> None:
    """Writes overlapping tiles of each photo, without its right strip of REFERENCE pixels."""
    folder.mkdir(parents=True)
    for name, photo in photos.items():
        height, width = photo.shape[0], photo.shape[1] - REFERENCE
        for y in range(0, height - TILE + 1, STRIDE):
            for x in range(0, width - TILE + 1, STRIDE):
                Image.fromarray(photo[y : y + TILE, x : x + TILE]).save(folder / f"{name}_{y:03d}_{x:03d}.png")


def make_test_set(photos: dict[str, np.ndarray], folder: Path) -> None:
    """Writes a dataset in KADID-10k's layout: two references per photo, with every type at three levels."""
    images = folder / "images"
    images.mkdir(parents=True)
    corners = [(name, side) for name in photos for side in (slice(REFERENCE), slice(-REFERENCE, None))]
    rows, of_photo = [], []
    count = len(corners) * len(KADID_TYPES) * len(LEVELS)
    with tqdm(total=count, desc="distorting", unit="image", disable=None) as bar:
        for number, (photo, side) in enumerate(corners):
            reference, reference_name = photos[photo][side, -REFERENCE:], f"I{number + 1:02d}.png"
            Image.fromarray(reference).save(images / reference_name)
            for kind, kadid_number in KADID_TYPES.items():
                for level in LEVELS:
                    generator = sample_generator(SEED, kadid_number, number * 10 + level)
                    name = f"I{number + 1:02d}_{kadid_number:02d}_{level:02d}.png"
                    rows.append((name, reference_name, save_copy(images / name, reference, kind, level, generator)))
                    of_photo.append(photo)
                    bar.update()
    write_csv(folder / "dmos.csv", [("dist_img", "ref_img", "dmos"), *rows])
    splits = make_splits(len(rows), of_photo, SEED, test_share=TEST_SHARE)
    save_splits(folder / "splits", splits, [name for name, _, _ in rows])


def main() -> None:
    parser = OneLineParser(prog="python -m data.quickstart", description=__doc__)
    parser.add_argument(
        "--data_base_path", type=nonempty_path, default=Path(FOLDER), help="folder to create (%(default)s)"
    )
    folder = parser.parse_args().data_base_path
    make(folder)
    count = len(list((folder / "KADIS700" / "ref_imgs").iterdir()))
    print(f"{folder}: created {count} training tiles and a dataset with pseudo-scores (SSIM), not human scores")


if __name__ == "__main__":
    run_command(main)
