import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data import check, get_dataset
from data.check import check_dataset
from models.errors import UserError
from tests.data.layouts import small


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return small("kadid10k", tmp_path)


def run(monkeypatch: pytest.MonkeyPatch, base: Path, *options: str) -> int:
    monkeypatch.setattr(sys, "argv", ["check", "--data_base_path", str(base), *options])
    return check.main()


def truncated(image: Path) -> None:
    Image.effect_noise((64, 64), 50).convert("RGB").save(image)
    image.write_bytes(image.read_bytes()[:2000])


@pytest.mark.parametrize(
    ("damage", "counted", "match"),
    [
        (Path.unlink, (1, 0, 0), "not found"),
        (lambda path: path.write_bytes(b""), (0, 1, 0), "not a readable image"),
        (truncated, (0, 0, 1), "truncated"),
    ],
)
def test_missing_and_damaged_images_are_counted_and_named(
    root: Path, damage: Callable, counted: tuple[int, ...], match: str
) -> None:
    image = min((root / "images").iterdir())
    damage(image)
    report = check_dataset("kadid10k", root.parent)
    assert (report.rows, report.missing, report.unreadable, report.truncated) == (30, *counted)
    assert str(image) in report.problems[0] and match in report.problems[0]


def test_the_table_and_the_exit_code(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without names, the datasets whose folders are there are checked."""
    assert run(monkeypatch, root.parent) == 0
    printed = capsys.readouterr().out
    assert "no problems found" in printed and "10 valid" in printed and "live" not in printed
    lines = (root / "dmos.csv").read_text().splitlines()
    (root / "dmos.csv").write_text("\n".join([lines[0], *lines[:0:-1]]) + "\n")
    assert run(monkeypatch, root.parent, "--datasets", "kadid10k", "live") == 1
    printed = capsys.readouterr().out
    assert "another order" in printed and "no such folder; it must contain live (source: https://" in printed
    shutil.rmtree(root)
    with pytest.raises(UserError, match="has no dataset; expected LIVE, CSIQ"):
        run(monkeypatch, root.parent)


def test_pictures_in_training_and_test_are_a_problem(root: Path) -> None:
    assert check_dataset("kadid10k", root.parent).problems == []
    dataset = get_dataset("kadid10k", root.parent)
    train, test = (dataset.get_split_indices(0, phase)[0] for phase in ("train", "test"))
    shutil.copyfile(dataset.images[train], dataset.images[test])
    (problem,) = check_dataset("kadid10k", root.parent).problems
    assert "split 0: 1 test images are also training images" in problem
    assert dataset.names[train] in problem and dataset.names[test] in problem


@pytest.mark.parametrize(
    ("phase", "keep", "match"),
    [("train", 0, "train.npy: split 0 is empty"), ("test", 2, "kadid10k: split 0 has 2 test images; at least 3")],
)
def test_splits_that_a_test_would_refuse_are_a_problem(root: Path, phase: str, keep: int, match: str) -> None:
    path = root / "splits" / f"{phase}.npy"
    rows = np.load(path)
    rows[:, keep:] = -1
    np.save(path, rows)
    report = check_dataset("kadid10k", root.parent)
    assert report.splits == "invalid" and match in report.problems[0]
