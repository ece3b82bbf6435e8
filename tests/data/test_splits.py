import json
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from data import get_dataset, splits
from data.split_files import load_splits, make_splits, save_splits, splits_hash
from models.errors import UserError
from tests.contract.runs import end, running
from tests.data.layouts import make_small

NAMES = [f"{i:02d}.png" for i in range(20)]
REFERENCES = [f"ref{i // 4}" for i in range(20)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_splits(tmp_path, make_splits(20, REFERENCES, seed=1, count=3), NAMES)
    return tmp_path


def refused(folder: Path, match: str, names: list[str] = NAMES) -> None:
    with pytest.raises(UserError, match=match) as error:
        load_splits(folder, names, REFERENCES[: len(names)])
    assert "\n" not in str(error.value)


def test_saved_splits_are_read_without_padding(folder: Path) -> None:
    made = make_splits(20, REFERENCES, seed=1, count=3)
    for phase, parts in load_splits(folder, NAMES, REFERENCES).items():
        for part, expected in zip(parts, made[phase], strict=True):
            np.testing.assert_array_equal(part, expected)
            assert part.min() >= 0


def test_splits_are_by_reference_and_depend_only_on_the_seed() -> None:
    splits = make_splits(20, REFERENCES, seed=1)
    assert len(splits["train"]) == 10
    for train, val, test in zip(splits["train"], splits["val"], splits["test"], strict=True):
        references = [{REFERENCES[i] for i in part} for part in (train, val, test)]
        assert not references[0] & references[1] and not references[0] & references[2]
        assert not references[1] & references[2]
        assert sorted([*train, *val, *test]) == list(range(20))
    again, other = make_splits(20, REFERENCES, seed=1), make_splits(20, REFERENCES, seed=2)
    assert all((a == b).all() for a, b in zip(splits["test"], again["test"], strict=True))
    assert any(a.tolist() != b.tolist() for a, b in zip(splits["test"], other["test"], strict=True))


def test_without_references_images_are_split_70_10_20() -> None:
    splits = make_splits(1000, None)
    assert [len(splits[phase][0]) for phase in ("train", "val", "test")] == [700, 100, 200]


def test_two_references_cannot_be_split() -> None:
    with pytest.raises(UserError, match="2 reference images cannot be split"):
        make_splits(4, ["a", "a", "b", "b"])


def test_an_annotation_with_other_rows_or_another_order_is_refused(folder: Path) -> None:
    refused(folder, "made for 20 rows, but the annotation has 19", NAMES[:-1])
    refused(folder, "another order", NAMES[::-1])
    load_splits(folder, [name.upper() for name in NAMES], REFERENCES)  # case does not matter


def test_splits_without_a_record_are_checked_for_range_and_leaks(folder: Path) -> None:
    (folder / "made_for.json").unlink()
    load_splits(folder, NAMES, REFERENCES)
    refused(folder, r"row 1\d in split 0, but the annotation has 10 rows", NAMES[:10])
    train, test = np.load(folder / "train.npy"), np.load(folder / "test.npy")
    test[1, 0] = train[1, 0]
    np.save(folder / "test.npy", test)
    refused(folder, r"split 1 has reference ref\d in both train and test")


ARRAY = r"val\.npy: not a readable split file"


@pytest.mark.parametrize(
    ("file", "damage", "match"),
    [
        *(("val.npy", lambda path, cut=cut: path.write_bytes(cut), ARRAY)
          for cut in (b"", b"no array", b"\x93NUMPY cut", b"PK\x03\x04 cut")),
        *(("val.npy", lambda path, old=old, new=new: path.write_bytes(path.read_bytes().replace(old, new)), ARRAY)
          for old, new in ((b"}", b"("), (b"'<i8'", b"   [ "))),
        ("val.npy", lambda path: np.savez(path.open("wb"), np.arange(3)), ARRAY),
        ("val.npy", Path.unlink, r"val\.npy: .*not found.*; a splits folder must have"),
        ("val.npy", lambda path: np.save(path, np.load(path)[:2]), "different numbers of splits"),
        ("made_for.json", lambda path: path.write_text("{"), r"made_for\.json: not a readable record"),
        ("made_for.json", lambda path: path.write_text("{}"), r"not a readable record \(lacks 'rows'\)"),
    ],
)  # fmt: skip
def test_a_missing_or_damaged_file_is_one_line(folder: Path, file: str, damage: Callable, match: str) -> None:
    damage(folder / file)
    refused(folder, match)


@pytest.mark.parametrize(
    ("rows", "match"),
    [
        ([[-1, -1], [-1, -1], [-1, -1]], r"train\.npy: split 0 is empty"),
        (np.zeros((0, 3), int), r"train\.npy: found int64 of shape \(0, 3\)"),
        (np.zeros((3, 2)), r"train\.npy: found float64.*expected integers of shape \(splits, n\)"),
        ([[0, 1, -2], [0, 1, 2], [0, 1, 2]], r"train\.npy: split 0 has the row number -2; .*-1 .*padding"),
        ([[0, 1, 2], [4, 5, 4], [0, 1, 2]], r"train\.npy: split 1 has a row more than once"),
    ],
)
def test_rows_that_are_none_are_refused(folder: Path, rows: object, match: str) -> None:
    np.save(folder / "train.npy", np.asarray(rows))
    refused(folder, match)


def test_the_users_own_splits_take_precedence(tmp_path: Path) -> None:
    root = tmp_path / "KADID10K"
    make_small("kadid10k", root)
    with pytest.raises(UserError, match="made for 10125 rows, but the annotation has 30"):  # the shipped splits
        get_dataset("kadid10k", tmp_path)
    (root / "splits").mkdir()
    for phase, rows in (("train", range(18)), ("val", range(18, 24)), ("test", range(24, 30))):
        np.save(root / "splits" / f"{phase}.npy", np.array([[*rows, -1]]))
    assert get_dataset("kadid10k", tmp_path).get_split_indices(0, "test").tolist() == list(range(24, 30))


FIRST_USE = """
from data import get_dataset
print(get_dataset("mine", ".", crop_size=32).get_split_indices(3, "test").tolist())
"""


def test_eight_processes_that_use_a_dataset_first_have_the_same_splits(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    rows = "\n".join(f"{i}.png,{i}" for i in range(50))
    (tmp_path / "mine" / "labels.csv").write_text(f"image,score\n{rows}\n")
    (tmp_path / "program.py").write_text(FIRST_USE)
    with ExitStack() as stack:
        processes = [stack.enter_context(running(tmp_path, str(tmp_path / "program.py"))) for _ in range(8)]
        ended = [end(process) for process in processes]
    assert [each.code for each in ended] == [0] * 8
    assert len({each.out for each in ended}) == 1
    assert not list((tmp_path / "mine").rglob("*.partial"))


def command(monkeypatch: pytest.MonkeyPatch, base: Path, *options: str) -> None:
    monkeypatch.setattr(sys, "argv", ["splits", "make", "--data_base_path", str(base), "--datasets", *options])
    splits.main()


def test_the_command_creates_splits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "KADID10K"
    make_small("kadid10k", root)
    command(monkeypatch, tmp_path, "kadid10k", "--seed", "3")
    dataset = get_dataset("kadid10k", tmp_path)
    expected = make_splits(30, dataset.ref_images, seed=3)
    assert dataset.num_splits == 10 and dataset.splits_hash == splits_hash(expected)
    assert json.loads((root / "splits" / "made_for.json").read_text())["rows"] == 30
    with pytest.raises(UserError, match="splits: is not empty"):
        command(monkeypatch, tmp_path, "kadid10k")
    (root / "splits" / "test.npy").unlink()
    with pytest.raises(UserError, match=r"test\.npy: .*not found"):  # not replaced
        get_dataset("kadid10k", tmp_path)
    assert not (root / "splits" / "test.npy").exists()


def test_a_file_named_splits_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_small("kadid10k", tmp_path / "KADID10K")
    (tmp_path / "KADID10K" / "splits").write_text("train")
    match = r"splits: is not a folder; expected a folder with train\.npy, val\.npy and test\.npy"
    with pytest.raises(UserError, match=match):
        get_dataset("kadid10k", tmp_path)
    with pytest.raises(UserError, match=match):
        command(monkeypatch, tmp_path, "kadid10k")


def test_too_many_splits_and_too_few_images_are_one_line_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "labels.csv").write_text("image,score\na.png,1\nb.png,2\n")
    for options, match in (
        (["--num_splits", "1000000"], r"--num_splits: found '1000000'; allowed: integer in \[1, 1000\]"),
        ([], "mine: 2 images cannot be split"),
    ):
        with pytest.raises(UserError, match=match):
            command(monkeypatch, tmp_path, "mine", *options)
        assert not (tmp_path / "mine" / "splits").exists()
