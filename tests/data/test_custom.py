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


def test_scores_are_human_or_pseudo_only_if_the_settings_say_so(folder: Path) -> None:
    assert get_dataset("mydata", folder.parent).score_kind == "unstated"
    for kind in ("human", "pseudo"):
        (folder / "dataset.yaml").write_text(f"scores: {kind}\n")
        assert get_dataset("mydata", folder.parent).score_kind == kind
    (folder.parent / "PSEUDO_SCORES.txt").touch()
    (folder / "dataset.yaml").write_text("scores: human\n")
    assert get_dataset("mydata", folder.parent).score_kind == "pseudo"


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ("direction: up", "direction is 'up'; allowed: higher or lower"),
        ("range: [3, 1]", "empty"),
        ("range: 5", "range is 5"),
        ("scores: mine", "scores is 'mine'; allowed: human or pseudo"),
        ("scale: 5", "allowed: range"),
        ("range: [", "not valid YAML"),
        ("direction: lower\ndirection: higher", r"dataset\.yaml, line 2: not valid YAML \(direction is given twice\)"),
        (f"range: [0, 1{400 * '0'}]", r"expected \[lowest, highest\]"),
    ],
)
def test_bad_settings_give_a_one_line_message(folder: Path, settings: str, match: str) -> None:
    (folder / "dataset.yaml").write_text(settings)
    with pytest.raises(UserError, match=match) as error:
        get_dataset("mydata", folder.parent)
    assert "\n" not in str(error.value)


def test_a_missing_column_is_named(folder: Path) -> None:
    (folder / "labels.csv").write_text("file,score\na.png,1\n")
    with pytest.raises(UserError, match=r"labels\.csv: missing columns: image; found: file, score"):
        get_dataset("mydata", folder.parent)


def test_an_empty_table_is_rejected(folder: Path) -> None:
    (folder / "labels.csv").write_text("image,score\n")
    with pytest.raises(UserError, match=r"labels\.csv: the table has no rows"):
        get_dataset("mydata", folder.parent)


def test_a_missing_score_is_called_empty(folder: Path) -> None:
    labels = folder / "labels.csv"
    labels.write_text(labels.read_text() + "img/12.png,,r0,blur,1\n")
    with pytest.raises(UserError, match=r"labels\.csv: score in row 13 is empty; expected a number"):
        get_dataset("mydata", folder.parent)


def test_an_image_that_is_listed_twice_is_refused(folder: Path) -> None:
    """It could be in training and test: a perfect score for a part of the test images."""
    labels = folder / "labels.csv"
    labels.write_text(labels.read_text() + "img/3.PNG,9,r0,blur,1\n")
    with pytest.raises(UserError, match=r"lists img/3\.png 2 times"):
        get_dataset("mydata", folder.parent)


@pytest.mark.parametrize("bounds", ["[0, .inf]", "[.nan, 5]", "[false, true]", "[0, 5, 9]", "5"])
def test_a_range_must_be_two_finite_numbers(folder: Path, bounds: str) -> None:
    (folder / "dataset.yaml").write_text(f"range: {bounds}\n")
    with pytest.raises(UserError, match=r"dataset\.yaml: range is .*expected \[lowest, highest\]"):
        get_dataset("mydata", folder.parent)


def labels(*rows: str, header: str = "image,score") -> str:
    return "\n".join([header, *(rows or [f"img/{i}.png,{i}" for i in range(12)])]) + "\n"


@pytest.mark.parametrize("twice", ["image", "score", "reference", "type", "group", "level"])
def test_a_column_that_is_there_twice_is_refused(folder: Path, twice: str) -> None:
    header = "image,score,reference,type,group,level"
    rows = [f"img/{i}.png,{i},r{i // 3},blur,soft,1,1" for i in range(12)]
    (folder / "labels.csv").write_text(labels(*rows, header=f"{header},{twice}"))
    with pytest.raises(UserError, match=rf"labels\.csv: the column {twice} is there 2 times; allowed: once"):
        get_dataset("mydata", folder.parent)


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (labels("img/0.png,1,1", "img/1.png,2,1.5", header="image,score,level"), "level in row 2 is 1.5"),
        (labels("a.png,1,blur,soft", "b.png,2,blur,hard", header="image,score,type,group"), "blur.*soft and hard"),
        (labels("img/0.png,1,soft", header="image,score,group"), "group needs the column type"),
        (labels('img/0.png,"3,5"'), r"score in row 1 is '3,5'; expected a number, with a decimal point: 3\.5"),
        (labels("img/0.png,3,5"), "row 1 has 3 fields, the header 2; .*write 3.5 and not 3,5"),
        (labels("img/0.png;3,5", header="image;score"), "found: image;score; columns are separated by commas"),
        (labels("img/0.png\t3.5", header="image\tscore"), "columns are separated by commas"),
        (labels("img/0.png,nan"), "score in row 1 is 'nan'; expected a number"),
        (labels("img/0.png,inf"), "score in row 1 is 'inf'; expected a number"),
        (labels("img/0.png,True"), "score in row 1 is 'True'; expected a number"),
        (labels("img/0.png"), "row 1 has 1 fields, the header 2"),
        (labels('"img/0.png,1', '"img/1.png,2'), "not a readable table"),
        (labels('"img/0.png', '",1'), "image in row 1 is 'img/0.png.n'; expected text"),
        (labels("img/0\0.png,1"), "labels.csv"),
        (labels("img/0.png,1,r0", "img/1.png,2,", header="image,score,reference"), "reference in row 2 is empty"),
        (labels("img/0.png,1,", header="image,score,type"), "type in row 1 is empty"),
        (labels(",1"), "image in row 1 is empty"),
        (labels("img/0.png,1", "./img/0.png,2"), "lists img/0.png 2 times"),
        (labels("img/0.png,1", "img/../img/0.PNG,2"), "lists img/0.png 2 times"),
        ("", "is empty; expected the columns image, score"),
        (labels().encode("utf-16"), "not a readable table"),
    ],
)  # fmt: skip
def test_a_wrong_table_gives_one_line(folder: Path, content: str | bytes, match: str) -> None:
    (folder / "labels.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError, match=match) as error:
        get_dataset("mydata", folder.parent)
    assert "\n" not in str(error.value)


def test_what_a_spreadsheet_adds_is_no_obstacle(folder: Path) -> None:
    """A byte order mark, quotes, empty columns and rows at the end; a name that pandas takes for a missing value."""
    names = ["NA", *(f"{i}" for i in range(1, 12))]
    rows = "".join(f'"img/{i}.png",{i},{name},,\r\n' for i, name in enumerate(names))
    (folder / "labels.csv").write_bytes(b"\xef\xbb\xbfimage,score,reference,,\r\n" + rows.encode() + b",,,,\r\n")
    dataset = get_dataset("mydata", folder.parent)
    assert dataset.ref_images == names and dataset.mos.tolist() == list(range(12))
