from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data import get_dataset
from models.errors import UserError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "mydata"
    (folder / "img").mkdir(parents=True)
    lines = ["image,score,reference,type,level"]
    for i in range(12):
        Image.new("RGB", (40, 40), (i, i, i)).save(folder / "img" / f"{i}.png")
        lines.append(f"img/{i}.png,{i * 2.5},r{i // 3},blur,{i % 3 + 1}")
    (folder / "labels.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def refused(folder: Path, match: str) -> None:
    with pytest.raises(UserError, match=match) as error:
        get_dataset("mydata", folder.parent)
    assert "\n" not in str(error.value) and str(folder) in str(error.value)


def test_a_folder_with_labels_is_a_dataset(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dataset = get_dataset("mydata", folder.parent, crop_size=32)
    assert dataset.name == "mydata" and len(dataset) == 12 and dataset.synthetic
    assert dataset.mos_range == (0, 27.5) and dataset.mos_type == "mos"
    assert dataset.distortion_types == dataset.distortion_groups == ["blur"] * 12
    assert dataset.distortion_levels[:4] == [1, 2, 3, 1]
    assert dataset[3]["full"].shape == (5, 3, 32, 32)
    printed = capsys.readouterr().err
    assert "scores 0 to 27.5, higher is better" in printed and "created new splits in" in printed
    for split in range(dataset.num_splits):
        train = {dataset.ref_images[i] for i in dataset.get_split_indices(split, "train")}
        assert not train & {dataset.ref_images[i] for i in dataset.get_split_indices(split, "test")}
    again = get_dataset("mydata", folder.parent)
    assert capsys.readouterr().err == ""  # neither the splits nor the range are said twice
    np.testing.assert_array_equal(again.get_split_indices(2, "val"), dataset.get_split_indices(2, "val"))


def test_image_and_score_are_the_only_required_columns(folder: Path) -> None:
    lines = [",".join(line.split(",")[:2]) for line in (folder / "labels.csv").read_text().splitlines()]
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    dataset = get_dataset("mydata", folder.parent)
    assert not dataset.synthetic and dataset.ref_images is None and dataset.distortion_types is None


def test_a_settings_file_gives_range_and_direction(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "dataset.yaml").write_text("range: [0, 30]\ndirection: lower\n")
    dataset = get_dataset("mydata", folder.parent)
    assert dataset.mos_range == (0, 30) and dataset.mos_type == "dmos"
    assert "is better" not in capsys.readouterr().err


def test_scores_are_of_a_kind_only_if_the_settings_say_so(folder: Path) -> None:
    assert get_dataset("mydata", folder.parent).score_kind == "unstated"
    for kind in ("human", "pseudo", "level"):
        (folder / "dataset.yaml").write_text(f"scores: {kind}\n")
        assert get_dataset("mydata", folder.parent).score_kind == kind


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("direction: up", "direction: found 'up', allowed: higher or lower"),
        ("scores: mine", "scores: found 'mine', allowed: human, pseudo or level"),
        ("scale: 5", "scale: found 5, but there is no such key"),
        ("range: [3, 1]", "empty"),
        *((f"range: {bounds}", r"dataset\.yaml: range: found .*, allowed: \[lowest, highest\]")
          for bounds in ("5", "[0, .inf]", "[false, true]", "[0, 5, 9]", f"[0, 1{400 * '0'}]")),
        ("range: [", "not valid YAML"),
        ("direction: lower\ndirection: higher", r"dataset\.yaml, line 2: not valid YAML \(direction is given twice\)"),
    ],
)  # fmt: skip
def test_bad_settings_give_a_one_line_message(folder: Path, text: str, match: str) -> None:
    (folder / "dataset.yaml").write_text(text)
    refused(folder, match)


ALL = "image,score,reference,type,group,level"


@pytest.mark.parametrize(
    ("header", "rows", "match"),
    [
        ("file,score", ["a.png,1"], "missing columns: image; found: file, score"),
        ("image;score", ["a.png;3,5"], "found: image;score; columns are separated by commas"),
        *((f"{ALL},{name}", ["a.png,1,r0,blur,soft,1,1"], f"the column {name} is there 2 times; allowed: once")
          for name in ALL.split(",")),
        ("image,score", [], "the table has no rows"),
        ("image,score,level", ["a.png,1,1", "b.png,2,1.5"], "level in row 2 is '1.5'; expected a whole number"),
        ("image,score,type,group", ["a.png,1,blur,soft", "b.png,2,blur,hard"], "blur.*soft and hard"),
        ("image,score,group", ["a.png,1,soft"], "group needs the column type"),
        *(("image,score", ["a.png,1", f"b.png,{score}"], f"score in row 2 is {found}; expected a number such as 3.5")
          for score, found in (("nan", "'nan'"), ("inf", "'inf'"), ("True", "'True'"), ("1_0", "'1_0'"), ("", "empty"),
                               ('"3,5"', "'3,5'"))),
        ("image,score", ["a.png,3,5"], "row 1 has 3 fields, the header 2"),
        ("image,score", ["a.png"], "row 1 has 1 fields, the header 2"),
        ("image,score", ['"a.png,1', '"b.png,2'], r"not a readable table \(line 3: "),
        ("image,score", ['"a.png', '",1'], "image in row 1 is 'a.png.n'; expected text on one line"),
        ("image,score", ["a\0.png,1"], "labels.csv"),
        ("image,score", [",1"], "image in row 1 is empty"),
        ("image,score,reference", ["a.png,1,r0", "b.png,2,"], "reference in row 2 is empty"),
        ("image,score", ["a.png,1", "../b.png,2"], "image in row 2 is '../b.png'; expected a path inside the folder"),
        ("image,score", ["/a.png,1"], "expected a path inside the folder"),
        *(("image,score", ["img/0.png,1", f"{name},2"], "lists img/0.png 2 times")
          for name in ("img/0.PNG", "./img/0.png", "img/../img/0.png")),
    ],
)  # fmt: skip
def test_a_wrong_table_gives_one_line(folder: Path, header: str, rows: list[str], match: str) -> None:
    """An image that is listed twice could be in training and test."""
    (folder / "labels.csv").write_text("\n".join([header, *rows]) + "\n")
    refused(folder, match)


def test_a_file_that_is_no_table_gives_one_line(folder: Path) -> None:
    (folder / "labels.csv").write_bytes(b"")
    refused(folder, "is empty; expected the columns image, score")
    (folder / "labels.csv").write_bytes("image,score".encode("utf-16"))
    refused(folder, "not a readable table")


def test_what_a_spreadsheet_adds_is_no_obstacle(folder: Path) -> None:
    """A byte order mark, quotes, empty columns and rows at the end; a name that pandas takes for a missing value."""
    names = ["NA", *(f"{i}" for i in range(1, 12))]
    rows = "".join(f'"img/{i}.png",{i},{name},,\r\n' for i, name in enumerate(names))
    (folder / "labels.csv").write_bytes(b"\xef\xbb\xbfimage,score,reference,,\r\n" + rows.encode() + b",,,,\r\n")
    dataset = get_dataset("mydata", folder.parent)
    assert dataset.ref_images == names and dataset.mos.tolist() == list(range(12))
