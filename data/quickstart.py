"""Makes a small data folder from photos in installed packages: python -m data.quickstart.

`KADIS700/ref_imgs/` contains tiles of 17 photos, `known_levels/` degraded copies of another part of each photo. The
score of a copy is its level of degradation, 1, 3 or 5, which is known because this command made the copy. It is not a
human score and says nothing about human judgement. In each of the six splits, the regressor is not fitted on the test
photos, and each photo is in the test once. The encoder is trained on tiles of all photos, without scores.
"""

from pathlib import Path

import numpy as np
import skimage.data
from matplotlib.cbook import get_sample_data
from PIL import Image
from sklearn.datasets import load_sample_image

from data.photo_set import make_degraded_copies
from data.split_files import Splits, save_splits
from models.errors import UserError
from models.files import write_folder
from utils.command import run_command
from utils.config.command_line import OneLineParser, nonempty_path

FOLDER = "quickstart_data"
NOTE = "NOT_HUMAN_SCORES.txt"  # says what is in the folder
TEST_SET = "known_levels"
SEED = 27
LONGEST = 512  # side of a photo; larger ones are resized
REFERENCE = 128  # side of the part that is degraded, at the middle of a photo's right edge; no tile overlaps it
TILE, STRIDE = 128, 80  # side of the training tiles, and distance between them
SPLITS = 6
FROM_SKIMAGE = (
    "astronaut", "brick", "camera", "chelsea", "coffee", "coins", "grass", "gravel", "hubble_deep_field",
    "immunohistochemistry", "moon", "retina", "rocket",
)  # fmt: skip
LEVELS = (1, 3, 5)
# Three levels, and one or two types per group, so that the whole quickstart takes minutes.
TYPES = (
    "gaublur", "motionblur", "colordiff", "jpeg2000", "jpeg", "whitenoise", "brighten", "darken", "pixelate",
    "highsharpen",
)  # fmt: skip


def make(folder: Path) -> None:
    """Creates the folder, or replaces it if this command created it. It only appears once it is complete.

    Raises:
        UserError: `folder` exists and was not created by this command, or cannot be written.
    """
    note = folder / NOTE
    if folder.exists() and not note.exists():
        raise UserError(f"{folder}: exists and is not a quickstart folder; choose another one with --data_base_path")

    def fill(inside: Path) -> None:
        photos = load_photos()
        make_training_tiles(photos, inside / "KADIS700" / "ref_imgs")
        references = {name: np.asarray(photo)[_middle(photo.height), -REFERENCE:] for name, photo in photos.items()}
        names, photo_of = make_degraded_copies(references, inside / TEST_SET, SEED, TYPES, LEVELS, score="level")
        save_splits(inside / TEST_SET / "splits", rotating_splits(photo_of, SPLITS, SEED), names)
        (inside / note.name).write_text((__doc__ or "").split("\n\n", 1)[1], encoding="utf-8")

    write_folder(folder, fill)


def load_photos() -> dict[str, Image.Image]:
    """17 photos as RGB: 14 from scikit-image, two from scikit-learn and one from matplotlib."""
    pixels = {name: getattr(skimage.data, name)() for name in FROM_SKIMAGE}
    pixels["motorcycle"] = skimage.data.stereo_motorcycle()[0]
    pixels |= {name: load_sample_image(f"{name}.jpg") for name in ("china", "flower")}
    photos = {name: Image.fromarray(photo).convert("RGB") for name, photo in pixels.items()}
    photos["grace_hopper"] = Image.open(get_sample_data("grace_hopper.jpg", asfileobj=False)).convert("RGB")
    for photo in photos.values():
        photo.thumbnail((LONGEST, LONGEST))
    return photos


def make_training_tiles(photos: dict[str, Image.Image], folder: Path) -> None:
    """Writes overlapping tiles of each photo, without its right strip of REFERENCE pixels."""
    folder.mkdir(parents=True)
    for name, photo in photos.items():
        for y in range(0, photo.height - TILE + 1, STRIDE):
            for x in range(0, photo.width - REFERENCE - TILE + 1, STRIDE):
                photo.crop((x, y, x + TILE, y + TILE)).save(folder / f"{name}_{y:03d}_{x:03d}.png")


def rotating_splits(photo_of: list[str], count: int, seed: int) -> Splits:
    """Divides the photos into `count` random parts; split i tests on part i, validates on the next, trains on the rest.

    Args:
        photo_of: name of each image's photo.
        count: number of parts, and of splits.
        seed: random seed.
    """
    photos = np.random.default_rng(seed).permutation(np.unique(photo_of))
    parts = [np.flatnonzero(np.isin(photo_of, part)) for part in np.array_split(photos, count)]
    rest = [np.setdiff1d(np.arange(len(photo_of)), np.r_[parts[i], parts[(i + 1) % count]]) for i in range(count)]
    return {"train": rest, "val": parts[1:] + parts[:1], "test": parts}


def _middle(height: int) -> slice:
    return slice((height - REFERENCE) // 2, (height + REFERENCE) // 2)


def main() -> None:
    parser = OneLineParser(prog="python -m data.quickstart", description=__doc__)
    parser.add_argument(
        "--data_base_path", type=nonempty_path, default=Path(FOLDER), help="folder to create (%(default)s)"
    )
    folder = parser.parse_args().data_base_path
    make(folder)
    tiles, copies = (len(list((folder / name).iterdir())) for name in ("KADIS700/ref_imgs", f"{TEST_SET}/images"))
    print(f"{folder}/KADIS700: {tiles} training tiles")
    print(f"{folder}/{TEST_SET}: {copies} degraded photos, whose scores are levels of degradation, not human scores")


if __name__ == "__main__":
    run_command(main)
