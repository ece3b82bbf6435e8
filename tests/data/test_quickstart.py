from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data import KADIS700Dataset, get_dataset, quickstart
from data.quickstart import LEVELS, REFERENCE, TEST_SET, TYPES, _middle, load_photos, make
from data.tables import csv_rows
from models.errors import UserError


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("quickstart") / "data"
    make(folder)
    return folder


def test_scores_are_the_levels_of_degradation_and_not_human_scores(folder: Path) -> None:
    dataset = get_dataset(TEST_SET, folder, crop_size=64)
    assert len(dataset) == 17 * len(TYPES) * len(LEVELS)
    assert dataset.mos.tolist() == dataset.distortion_levels and dataset.mos_type == "dmos"
    assert set(dataset.distortion_types or []) == set(TYPES)
    assert dataset.score_kind == "level"
    assert "It is not a human score" in " ".join((folder / "NOT_HUMAN_SCORES.txt").read_text(encoding="utf-8").split())
    # A stronger level changes a photo more, in the mean over the photos.
    references = dict(zip(dataset.names, dataset.ref_images or [], strict=True))
    clean = {name: np.asarray(photo)[_middle(photo.height), -REFERENCE:] for name, photo in load_photos().items()}
    changes: dict[str, list[float]] = {}
    for name, reference in references.items():
        copy = np.asarray(Image.open(folder / TEST_SET / name)).astype(float)
        changes.setdefault(name.removeprefix(f"images/{reference}_"), []).append(np.abs(copy - clean[reference]).mean())
    for kind in TYPES:
        means = [np.mean(changes[f"{kind}_{level}.png"]) for level in LEVELS]
        assert means == sorted(means), kind


def test_each_photo_is_tested_once_by_a_regressor_that_was_not_fitted_on_it(folder: Path) -> None:
    dataset = get_dataset(TEST_SET, folder, crop_size=64)
    photo_of = np.asarray(dataset.ref_images)
    photos = [
        {phase: set(photo_of[dataset.get_split_indices(split, phase)]) for phase in ("train", "val", "test")}
        for split in range(dataset.num_splits)
    ]
    counts = [tuple(map(len, split.values())) for split in photos]
    assert counts == [(11, 3, 3)] * 4 + [(12, 2, 3), (12, 3, 2)]
    assert all(len(set.union(*split.values())) == 17 for split in photos)
    assert sorted(photo for split in photos for photo in split["test"]) == sorted(set(photo_of))


def test_training_tiles_do_not_overlap_the_references(folder: Path) -> None:
    tiles = KADIS700Dataset(folder / "KADIS700").images
    assert 200 <= len(tiles) <= 400
    for name, photo in load_photos().items():
        of_photo = [path for path in tiles if path.name.startswith(f"{name}_")]
        assert of_photo
        for path in of_photo:
            y, x = (int(number) for number in path.stem.rsplit("_", 2)[1:])
            tile = np.asarray(Image.open(path))
            np.testing.assert_array_equal(tile, np.asarray(photo)[y : y + tile.shape[0], x : x + tile.shape[1]])
            assert x + tile.shape[1] <= photo.width - REFERENCE


def test_only_a_quickstart_folder_is_replaced_and_content_is_the_same_again(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quickstart, "TYPES", ("whitenoise",))  # the others would take half a minute
    with pytest.raises(UserError, match="not a quickstart folder"):
        make(tmp_path)
    (tmp_path / "NOT_HUMAN_SCORES.txt").touch()
    make(tmp_path)
    before, again = (csv_rows(base / TEST_SET / "labels.csv") for base in (folder, tmp_path))
    assert [row for row in before if "_whitenoise_" in row[0]] == again[1:]
    names = [path.relative_to(tmp_path) for path in tmp_path.rglob("*.png")]
    assert len(names) > 300 and all((tmp_path / n).read_bytes() == (folder / n).read_bytes() for n in names)
