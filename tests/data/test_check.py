import shutil
import sys
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
from PIL import Image

from data import get_dataset
from data.check import check_dataset
from data.split_files import make_splits, save_splits
from tests import processes
from tests.data.layouts import make_small

ROOT = Path(__file__).resolve().parents[2]


def make(base: Path) -> Path:
    root = base / "KADID10K"
    make_small("kadid10k", root)
    bare = get_dataset("kadid10k", base, with_splits=False)
    save_splits(root / "splits", make_splits(30, bare.ref_images), bare.names)
    return root


def run(base: Path, *options: str) -> CompletedProcess:
    command = [sys.executable, "-m", "data.check", "--data_base_path", str(base), *options]
    return processes.run(command, cwd=ROOT)


def test_a_complete_dataset_passes(tmp_path: Path) -> None:
    make(tmp_path)
    done = run(tmp_path, "--datasets", "kadid10k")
    assert done.returncode == 0 and "no problems found" in done.stdout and "10 valid" in done.stdout


def test_missing_and_unreadable_images_are_counted_and_named(tmp_path: Path) -> None:
    root = make(tmp_path)
    images = sorted((root / "images").iterdir())
    images[0].unlink()
    images[1].write_bytes(b"")
    report = check_dataset("kadid10k", tmp_path)
    assert (report.rows, report.missing, report.unreadable) == (30, 1, 1)
    assert images[0].name in report.problems[0] and images[1].name in report.problems[1]


def test_truncated_images_are_counted_and_named(tmp_path: Path) -> None:
    image = min((make(tmp_path) / "images").iterdir())
    Image.effect_noise((64, 64), 50).convert("RGB").save(image)
    image.write_bytes(image.read_bytes()[:2000])
    report = check_dataset("kadid10k", tmp_path)
    assert (report.unreadable, report.truncated) == (0, 1)
    assert f"{image}: truncated" in report.problems[0]
    done = run(tmp_path, "--datasets", "kadid10k")
    assert done.returncode == 1 and "truncated" in done.stdout.splitlines()[0]


def test_wrong_splits_and_missing_datasets_exit_with_1(tmp_path: Path) -> None:
    root = make(tmp_path)
    lines = (root / "dmos.csv").read_text().splitlines()
    (root / "dmos.csv").write_text("\n".join([lines[0], *lines[:0:-1]]) + "\n")
    done = run(tmp_path, "--datasets", "kadid10k", "live")
    assert done.returncode == 1
    assert "another order" in done.stdout
    assert "no such folder; it must contain live (source: https://" in done.stdout


def test_without_names_the_datasets_that_are_there_are_checked(tmp_path: Path) -> None:
    nothing = run(tmp_path)
    assert nothing.returncode == 2 and "has no dataset; expected LIVE, CSIQ" in nothing.stderr
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "labels.csv").write_text("image,score\n" + "\n".join(f"{i}.png,{i}" for i in range(10)))
    for i in range(10):
        Image.new("RGB", (8, 8)).save(tmp_path / "mine" / f"{i}.png")
    done = run(tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "mine" in done.stdout and "live" not in done.stdout and "no problems found" in done.stdout


def test_a_name_that_is_too_long_counts_as_missing(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    rows = "\n".join(f"{i * 100}.png,{i}" for i in range(9))
    (tmp_path / "mine" / "labels.csv").write_text(f"image,score\n{rows}\n{'x' * 5000}.png,9\n")
    assert check_dataset("mine", tmp_path).missing == 10


def test_splits_that_name_no_image_are_not_valid(tmp_path: Path) -> None:
    root = make(tmp_path)
    np.save(root / "splits" / "train.npy", np.full((10, 3), -1))
    report = check_dataset("kadid10k", tmp_path)
    assert report.splits == "invalid" and "train.npy: split 0 is empty" in report.problems[0]


def test_what_a_test_would_refuse_and_pictures_in_training_and_test_are_problems(tmp_path: Path) -> None:
    make(tmp_path)
    assert check_dataset("kadid10k", tmp_path).problems == ()
    dataset = get_dataset("kadid10k", tmp_path)
    train, test = (dataset.get_split_indices(0, phase)[0] for phase in ("train", "test"))
    shutil.copyfile(dataset.images[train], dataset.images[test])
    (problem,) = check_dataset("kadid10k", tmp_path).problems
    assert "split 0: 1 test images are also training images" in problem
    assert dataset.names[train] in problem and dataset.names[test] in problem


def test_splits_that_are_too_small_for_a_test_are_a_problem(tmp_path: Path) -> None:
    root = make(tmp_path)
    dataset = get_dataset("kadid10k", tmp_path)
    few = [dataset.get_split_indices(split, "test")[:2] for split in range(dataset.num_splits)]
    np.save(root / "splits" / "test.npy", np.array(few))
    report = check_dataset("kadid10k", tmp_path)
    assert report.splits == "invalid" and "kadid10k: split 0 has 2 test images; at least 3" in report.problems[0]
