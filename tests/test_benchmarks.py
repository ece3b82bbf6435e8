import importlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.__main__ import COMMANDS, ON_A_DEVICE, page
from benchmarks.degradation import chosen_types, draw_contact_sheet, expected_calls, time_samples, typical_positions
from data import fast_png
from data.kadis700 import KADIS700Dataset
from models.errors import UserError
from utils.distortions import DISTORTIONS, GROUPS


def test_the_page_shows_the_last_line_of_each_benchmark_as_its_result() -> None:
    text = page([("Step", "benchmarks.training", "slow 2 s\nours / plain: 0.44"), ("Score", "b.c --x", "0.69")])
    assert "| Step | ours / plain: 0.44 | `python -m benchmarks.training` |" in text
    assert "| Score | 0.69 | `python -m b.c --x` |" in text
    assert "slow 2 s\nours / plain: 0.44\n```" in text


@pytest.mark.parametrize(("title", "command"), [*COMMANDS, *ON_A_DEVICE])
def test_every_command_is_a_module_that_accepts_its_options(
    title: str, command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    name, *options = command.split()
    monkeypatch.setattr("sys.argv", [name, *options, "--help"])
    with pytest.raises(SystemExit) as ended:
        importlib.import_module(name).main()
    assert ended.value.code == 0
    printed = capsys.readouterr().out
    assert all(option in printed for option in options if option.startswith("--"))


def test_types_can_be_selected_by_name_and_by_group() -> None:
    assert [d.name for d in chosen_types(["jitter", "jpeg"])] == ["jitter", "jpeg2000", "jpeg"]
    assert [d.name for d in chosen_types(GROUPS)] == list(DISTORTIONS)
    with pytest.raises(UserError, match=r"--only: found 'colour'; .*color_distortion.*gaublur"):
        chosen_types(["jpeg", "colour"])


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{i}.png" for i in range(2)]
    for i, path in enumerate(paths):
        Image.fromarray(np.random.default_rng(i).integers(0, 256, (130, 140, 3), dtype=np.uint8)).save(path)
    return paths


def test_the_contact_sheet_has_13_rows_of_10(photos: list[Path], tmp_path: Path) -> None:
    path = tmp_path / "made" / "sheet.png"
    draw_contact_sheet(photos, path)
    inked = np.asarray(Image.open(path).convert("L")) < 250
    gaps = [np.flatnonzero(np.diff(inked.any(axis=axis).astype(int)) == 1).size for axis in (0, 1)]
    assert gaps[0] == 10 and gaps[1] >= 13


def test_unwritable_contact_sheet_gives_a_one_line_message(photos: list[Path], tmp_path: Path) -> None:
    for path in (tmp_path / "sheet.xyz", photos[0] / "sheet.png"):
        with pytest.raises(UserError, match=path.name):
            draw_contact_sheet(photos, path)
    with pytest.raises(UserError, match="at least 2"):
        draw_contact_sheet(photos[:1], tmp_path / "sheet.png")


def test_the_timed_samples_have_jpeg2000_as_often_as_expected(photos: list[Path]) -> None:
    dataset = KADIS700Dataset(photos[0].parent, patch_size=32, images_folder=".")
    positions = typical_positions(dataset, 60)
    compositions = [dict(dataset[position]["composition"]) for position in positions]
    # a sample has 0.95 x 2.5 / 7 types of the group on average, half of which are JPEG 2000
    assert sum("jpeg2000" in composition for composition in compositions) == round(60 * 0.95 * 2.5 / 7 / 2)
    assert len(set(positions)) == 60
    assert expected_calls(dataset, "jpeg2000") == pytest.approx(4 * 0.95 * 2.5 / 7 / 2)


@pytest.mark.parametrize("installed", [True, False])
def test_samples_are_timed_with_each_choice_of_decoders(
    installed: bool, photos: list[Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(fast_png, "imagecodecs", object() if installed else None)
    before = dict(DISTORTIONS)
    line = time_samples(KADIS700Dataset(photos[0].parent, patch_size=32, images_folder="."), 3)
    assert before == DISTORTIONS  # nothing stays wrapped
    assert ("with imagecodecs" in line) == installed and "with Pillow alone" in line
    assert "decoding the two photos" in capsys.readouterr().out
