from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data import KADIS700Dataset, get_dataset, quickstart
from data.quickstart import KADID_TYPES, LEVELS, REFERENCE, load_photos, make
from data.tables import csv_rows
from models.errors import UserError


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("quickstart") / "data"
    make(folder)
    return folder


def test_the_test_set_has_the_layout_of_kadid10k(folder: Path) -> None:
    dataset = get_dataset("kadid10k", folder, crop_size=96)
    assert len(dataset) == 2 * 7 * len(KADID_TYPES) * len(LEVELS) and dataset.num_splits == 10
    assert len(set(dataset.distortion_types or [])) == len(KADID_TYPES)
    assert set(dataset.distortion_levels or []) == set(LEVELS)
    assert 1 <= dataset.mos.min() < dataset.mos.max() <= 5
    # SSIM decreases with the level on average.
    levels = np.asarray(dataset.distortion_levels)
    means = [dataset.mos[levels == level].mean() for level in LEVELS]
    assert means == sorted(means, reverse=True)


def test_the_test_images_of_a_split_are_of_three_photos_that_its_training_has_none_of(folder: Path) -> None:
    dataset = get_dataset("kadid10k", folder, crop_size=96)
    assert dataset.ref_images is not None
    photo_of = [(int(Path(name).stem[1:]) - 1) // 2 for name in dataset.ref_images]  # two references of each photo
    for split in range(10):
        photos = {
            phase: {photo_of[i] for i in dataset.get_split_indices(split, phase)} for phase in ("train", "val", "test")
        }
        assert [len(photos[phase]) for phase in ("train", "val", "test")] == [3, 1, 3]
        assert len(set.union(*photos.values())) == 7


def test_training_tiles_do_not_overlap_the_references(folder: Path) -> None:
    tiles = KADIS700Dataset(folder / "KADIS700").images
    assert 200 <= len(tiles) <= 400
    for name, photo in load_photos().items():
        of_photo = [path for path in tiles if path.name.startswith(f"{name}_")]
        assert of_photo
        for path in of_photo:
            y, x = (int(number) for number in path.stem.rsplit("_", 2)[1:])
            tile = np.asarray(Image.open(path))
            np.testing.assert_array_equal(tile, photo[y : y + tile.shape[0], x : x + tile.shape[1]])
            assert x + tile.shape[1] <= photo.shape[1] - REFERENCE


def test_scores_are_labelled_as_pseudo_scores(folder: Path) -> None:
    assert "They are not human scores" in " ".join((folder / "PSEUDO_SCORES.txt").read_text(encoding="utf-8").split())
    assert get_dataset("kadid10k", folder).score_kind == "pseudo"


def test_only_a_quickstart_folder_is_replaced_and_content_is_the_same_again(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quickstart, "KADID_TYPES", {"whitenoise": 11})  # the others would take half a minute
    with pytest.raises(UserError, match="not a quickstart folder"):
        make(tmp_path)
    (tmp_path / "PSEUDO_SCORES.txt").touch()
    make(tmp_path)
    before, again = (csv_rows(base / "KADID10K" / "dmos.csv") for base in (folder, tmp_path))
    assert [row for row in before if "_11_" in row[0]] == again[1:]
    names = [path.relative_to(tmp_path) for path in tmp_path.rglob("*.png")]
    assert len(names) > 300 and all((tmp_path / n).read_bytes() == (folder / n).read_bytes() for n in names)
