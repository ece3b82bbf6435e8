import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage.metrics import structural_similarity

from data import KADIS700Dataset, get_dataset
from data.photo_set import TEST_SET, make
from models.errors import UserError
from utils.distortions import DISTORTIONS


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    (folder / "more").mkdir(parents=True)
    for i in range(5):
        pixels = np.random.default_rng(i).integers(0, 256, (48, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / ("more" if i % 2 else ".") / f"p{i}.png")
    return folder


def test_no_photo_is_in_both_parts_and_every_type_and_level_is_tested(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    make(photos, out, references=3, seed=1)
    dataset = get_dataset(TEST_SET, out, crop_size=32)
    training = {path.stem for path in KADIS700Dataset(out / "KADIS700").images}
    assert len(training) == 2 and len(set(dataset.ref_images or [])) == 3
    assert training.isdisjoint(dataset.ref_images or [])
    assert len(dataset) == 3 * len(DISTORTIONS) * 5
    assert set(zip(dataset.distortion_types or [], dataset.distortion_groups or [], strict=True)) == {
        (d.name, d.group) for d in DISTORTIONS.values()
    }
    assert dataset.score_kind == "pseudo"
    assert dataset.mos_range == (1, 5) and dataset.mos.min() >= 1 and dataset.mos.max() <= 5


def test_a_score_is_the_ssim_to_the_reference(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    make(photos, out, references=2, seed=0)
    with (out / TEST_SET / "labels.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for row in rows[::17]:
        (reference,) = photos.rglob(f"{row['reference']}.png")
        copy = np.asarray(Image.open(out / TEST_SET / row["image"]))
        ssim = structural_similarity(np.asarray(Image.open(reference)), copy, channel_axis=2)
        assert float(row["score"]) == pytest.approx(1 + 4 * max(0, ssim), abs=1e-4)


def test_too_few_photos_and_an_existing_folder_are_rejected(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="found 5 images; more than --references"):
        make(photos, tmp_path / "out", references=5, seed=0)
    with pytest.raises(UserError, match="already exists"):
        make(photos, photos, references=2, seed=0)
