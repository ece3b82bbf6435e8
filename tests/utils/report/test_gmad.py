"""The competition of two models on the images that they disagree about."""

import csv
import sys
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from matplotlib.text import Text
from PIL import Image

from models.errors import UserError
from utils.report import gmad
from utils.report.gmad import competition

HEADER = "image,score,error,model,percentile\n"


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Twelve photos, of which one has a name that mathematical text would choke on, in the working directory."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    for number in range(12):
        name = f"photos/{number:02}{'$x_$^' if number == 3 else ''}.png"
        Image.new("RGB", (40 + number, 30), (20 * number, 80, 90)).save(name)
    return tmp_path / "photos"


def write(path: Path, images: list[Path], scores: np.ndarray, model: str = "m") -> Path:
    rows = [
        f"{image.relative_to(path.parent)},{score:.6f},,{model},0.5\n"
        for image, score in zip(images, scores, strict=True)
    ]
    path.write_text(HEADER + "".join(rows), encoding="utf-8")
    return path


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    monkeypatch.setattr(sys, "argv", ["gmad", *map(str, arguments)])
    gmad.main()


def test_the_pairs_are_those_of_a_search_over_all_pairs() -> None:
    rng = np.random.default_rng(0)
    defender, attacker = rng.normal(size=(2, 60))
    edges = np.quantile(defender, [0.25, 0.5, 0.75])
    for quantile, (high, low) in enumerate(competition(defender, attacker, 4)):
        inside = [i for i in range(60) if np.searchsorted(edges, defender[i]) == quantile]
        best = max(combinations(inside, 2), key=lambda pair: abs(attacker[pair[0]] - attacker[pair[1]]))
        assert {high, low} == set(best) and attacker[high] > attacker[low]
    assert all(high != low for high, low in competition(np.zeros(8), np.zeros(8), 4))


def test_a_picture_and_a_table_of_both_directions(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = sorted(photos.iterdir())
    rng = np.random.default_rng(1)
    first, second = rng.uniform(size=(2, 12)).round(6)
    a, b = write(photos.parent / "a.csv", images, first), write(photos.parent / "b.csv", images[::-1], second[::-1])
    run(monkeypatch, a, b, "--quantiles", 2, "--out", photos.parent / "out" / "pairs.png")
    with Image.open(photos.parent / "out" / "pairs.png") as picture:
        assert picture.width > 400 and picture.height > 400
    with (photos.parent / "out" / "pairs.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(row["equal_for"], row["quantile"]) for row in rows] == [
        (str(a), "1"), (str(a), "2"), (str(b), "1"), (str(b), "2")
    ]  # fmt: skip
    for row in rows:
        defender, attacker = (first, second) if row["equal_for"] == str(a) else (second, first)
        pair = competition(defender, attacker, 2)[int(row["quantile"]) - 1]
        for kind, index in zip(("higher", "lower"), pair, strict=True):
            assert row[f"{kind}_image"] == str(images[index].relative_to(photos.parent))
            assert float(row[f"{kind}_score"]) == attacker[index]
            assert float(row[f"{kind}_score_equal_for"]) == defender[index]


@pytest.mark.parametrize("quantiles", [1, 4])
def test_long_names_are_neither_cut_nor_over_each_other(photos: Path, quantiles: int) -> None:
    long = "a name as long as some people give"
    for photo in list(photos.iterdir()):
        photo.rename(photo.with_name(f"{long} to their photographs {photo.name}"))
    images, scores = sorted(photos.iterdir()), np.random.default_rng(1).uniform(size=(2, 12))
    paths = [write(photos.parent / f"{long} to models {i}.csv", images, of) for i, of in enumerate(scores)]
    figure = gmad.draw(gmad.pairs_table((paths[0], paths[1]), quantiles))
    figure.draw_without_rendering()
    texts = [text for text in figure.findobj(Text) if "\n" in text.get_text()]  # not the hidden ticks
    boxes = [text.get_window_extent() for text in texts]
    assert len(boxes) == 2 + 4 * quantiles
    for box in boxes:
        assert box.x0 >= 0 and box.x1 <= figure.bbox.x1 and box.y0 >= 0 and box.y1 <= figure.bbox.y1
    assert not any(a.overlaps(b) for a, b in combinations(boxes, 2))


def test_mistakes_are_one_line(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = sorted(photos.iterdir())
    a = write(photos.parent / "a.csv", images, np.arange(12.0))
    b = write(photos.parent / "b.csv", images[:-1], np.arange(11.0))
    for name, rows in (("nan", ["nan"]), ("twice", ["1", "1"])):
        text = HEADER + "".join(f"photos/00.png,{score},,m,\n" for score in rows)
        (photos.parent / f"{name}.csv").write_text(text, encoding="utf-8")
    for arguments, message in (
        ((a, "nan.csv"), r"nan\.csv: not a file of scores"),
        ((a, "twice.csv"), r"twice\.csv: not a file of scores"),
        ((a, b), r"b\.csv: has no score of .*11\.png, which .*a\.csv has"),
        ((a, a, "--quantiles", 7), "12 images.*--quantiles 7.*at most 6"),
        ((a, a, "--out", "map.csv"), r"--out: found map\.csv; allowed: .*\.png"),
    ):
        with pytest.raises(UserError, match=message):
            run(monkeypatch, *arguments)


def test_the_table_is_kept_if_an_image_is_gone(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = sorted(photos.iterdir())
    a = write(photos.parent / "a.csv", images, np.arange(12.0))
    for image in images:
        image.unlink()
    with pytest.raises(UserError, match=r"photos.*\.png: not a readable image"):
        run(monkeypatch, a, a)
    assert (photos.parent / "gmad.csv").exists() and not (photos.parent / "gmad.png").exists()
