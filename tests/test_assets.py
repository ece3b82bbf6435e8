import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage.metrics import structural_similarity

from benchmarks import assets
from models.errors import UserError
from models.image_file import open_image
from utils.distortions import DISTORTIONS, GROUPS

FOLDER = assets.ROOT / "assets"
LISTED = re.findall(r"^\| (\S+\.png) \| (\w+) \| (\w+) \|", (FOLDER / "README.md").read_text(encoding="utf-8"), re.M)


@pytest.fixture(scope="module")
def again(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("assets")
    assets.make(folder)
    return folder


def pixels(path: Path) -> np.ndarray:
    return np.asarray(open_image(path)).astype(float)


def similarity(name: str, clean: str) -> float:
    return structural_similarity(pixels(FOLDER / clean), pixels(FOLDER / name), channel_axis=2, data_range=255)


def test_readme_lists_every_image_and_the_images_are_small() -> None:
    assert [name for name, _, _ in LISTED] == sorted(path.name for path in FOLDER.glob("*.png"))
    assert LISTED[0][0] == "01.png"
    for name, _, _ in LISTED:
        with Image.open(FOLDER / name) as image:
            assert image.mode == "RGB" and max(image.size) == assets.LONGEST
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 1_000_000


def test_images_and_list_are_reproducible(again: Path) -> None:
    assert (again / "README.md").read_bytes() == (FOLDER / "README.md").read_bytes()
    for name, _, kind in LISTED:
        difference = np.abs(pixels(again / name) - pixels(FOLDER / name))
        assert difference.mean() <= (0 if kind == "none" else 0.5), name  # rounding differs between library versions


@pytest.mark.parametrize(("clean", "mild", "strong"), [("01.png", "02.png", "03.png"), ("04.png", "05.png", "06.png")])
def test_a_stronger_level_is_less_similar_to_the_clean_photo(clean: str, mild: str, strong: str) -> None:
    kinds = {name: (photo, kind) for name, photo, kind in LISTED}
    assert kinds[clean] == (kinds[mild][0], "none") and kinds[mild] == kinds[strong]
    assert 0.98 > similarity(mild, clean) > similarity(strong, clean) + 0.1


def test_the_strip_shows_one_type_per_group_and_has_the_expected_size(tmp_path: Path) -> None:
    assert sorted(DISTORTIONS[kind].group for kind in assets.STRIP) == sorted(GROUPS)
    assets.draw_strip(tmp_path / "strip.jpg")
    for path in (tmp_path / "strip.jpg", assets.ROOT / "docs" / "figures" / "strip.jpg"):
        width, height = open_image(path).size
        assert 950 <= width <= 1050 and height <= 220
        assert path.stat().st_size < 120_000


def test_unwritable_folder_gives_a_one_line_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr("sys.argv", ["assets", "--out", str(tmp_path / "file")])
    with pytest.raises(UserError, match="cannot be written"):
        assets.main()
