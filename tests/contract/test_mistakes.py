"""Mistakes: one line that names the file or key, what was found and what is allowed; exit code 2; nothing is lost."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.contract.runs import needs_posix, quick, training, write_data, write_own_dataset


@pytest.fixture(scope="module")
def broken(folder: Path) -> Path:
    """The working folder with files that are not what their names say."""
    (folder / "list.yaml").write_text("- not keys\n", encoding="utf-8")
    (folder / "text.png").write_text("no image", encoding="utf-8")
    own = write_own_dataset(folder, "no_number")
    (own / "labels.csv").write_text("image,score\nimages/00.png,1\nimages/01.png,good\n", encoding="utf-8")
    write_own_dataset(folder, "no_splits")
    shutil.copytree(folder / "data" / "no_splits", folder / "data" / "bad_splits")
    (folder / "data" / "bad_splits" / "splits").mkdir()
    for phase in ("train", "val", "test"):
        np.save(folder / "data" / "bad_splits" / "splits" / f"{phase}.npy", np.array([[0, 99]]))
    pretrain = folder / "experiments" / "damaged" / "pretrain"
    pretrain.mkdir(parents=True)
    (pretrain / "best_epoch_0_srocc_0.000_plcc_0.000.pth").write_bytes(b"no weights")
    return folder


@pytest.mark.parametrize(
    ("command", "options", "words"),
    [
        ("main.py", training("m", "--training.lrate", 1), ("training.lrate", "1", "training.lr")),
        ("main.py", training("m", "--training.epochs", "many"), ("training.epochs", "'many'", "integer")),
        ("main.py", training("m", "--data_base_path", "nowhere"), ("data_base_path", "nowhere")),
        ("main.py", ("--config", "absent.yaml"), ("absent.yaml", "cannot be read")),
        ("main.py", ("--config", "list.yaml"), ("list.yaml", "list", "key: value")),
        ("main.py", training("m", "--test.datasets", "tid2013"), ("TID2013", "no such folder")),
        ("main.py", training("m", "--validation.datasets", "bad_splits"), ("bad_splits", "99", "12")),
        ("test.py", training("never_trained"), ("never_trained", "best_epoch_*.pth", "main.py")),
        ("test.py", training("damaged"), ("damaged", "best_epoch_0", ".pth")),
        ("single_image_inference.py", ("--img_path", "nowhere.png"), ("nowhere.png",)),
        (
            "single_image_inference.py",
            ("--img_path", "text.png", "--regressor_dataset", "kadid"),
            ("kadid", "kadid10k"),
        ),
        (
            "data.splits",
            ("make", "--data_base_path", "data", "--datasets", "no_number"),
            ("labels.csv", "good", "number"),
        ),
        ("utils.report", ("--experiment_name", "nothing_there"), ("nothing_there",)),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_a_mistake_is_one_line(
    broken: Path, released: Path, command: str, options: tuple[object, ...], words: tuple[str, ...]
) -> None:
    error = quick(broken, command, *options, ARNIQA_WEIGHTS_DIR=released).error
    assert all(word in error for word in words), error
    assert not (broken / "experiments" / "m").exists()  # before the training, not after it


def test_an_image_that_cannot_be_read_is_named_and_the_others_are_scored(broken: Path, released: Path) -> None:
    images = broken / "some"
    shutil.copytree(broken / "data" / "no_splits" / "images", images)
    shutil.copy(broken / "text.png", images / "text.png")
    options = ("--img_path", images, "--crop_size", 32, "--weights_dir", released)
    done = quick(broken, "single_image_inference.py", *options)
    assert done.code == 1 and done.out.count("some") == 12
    (line,) = (line for line in done.err.splitlines() if line.startswith("error: "))
    assert "text.png" in line and "not a readable image" in line


def test_a_dataset_that_fails_does_not_take_the_others_results(folder: Path, alone: str) -> None:
    write_own_dataset(folder, "broken_later")
    (folder / "data" / "broken_later" / "images" / "03.png").write_bytes(b"no image")
    done = quick(folder, "test.py", *training(alone, "--test.datasets", "broken_later", "kadid10k"))
    assert done.code == 1 and "03.png" in done.err and "Traceback" not in done.err
    assert "kadid10k" in (folder / "experiments" / alone / "results.csv").read_text(encoding="utf-8")


def narrow(folder: Path) -> None:
    """Names that no code page of Windows has."""
    own = write_own_dataset(folder, "写真", images=15)
    for image in sorted((own / "images").iterdir()):
        image.rename(image.with_name(f"猫{image.name}"))
    labels = (own / "labels.csv").read_text(encoding="utf-8").replace("images/", "images/猫")
    (own / "labels.csv").write_text(labels, encoding="utf-8")
    (own / "images" / "猫05.png").write_bytes((own / "images" / "猫05.png").read_bytes()[:200])  # is named: truncated


def test_results_are_written_whatever_the_output_can_show(tmp_path: Path, released: Path) -> None:
    """On a standard output in cp1252, as of `> log.txt` on Windows, results were lost after the training."""
    write_data(tmp_path)
    narrow(tmp_path)
    options = training("narrow", "--training.epochs", 1, "--test.datasets", "写真")
    done = quick(tmp_path, "main.py", *options, PYTHONIOENCODING="cp1252")
    assert done.code == 0 and "Traceback" not in done.err, done.err
    assert (tmp_path / "experiments" / "narrow" / "results.json").exists()
    assert "\\u5199\\u771f" in done.out
    checked = quick(tmp_path, "data.check", "--data_base_path", "data", PYTHONIOENCODING="cp1252")
    assert checked.code == 1 and "\\u732b05.png: truncated" in checked.out, checked.err
    images = tmp_path / "data" / "写真" / "images"
    scored = quick(
        tmp_path, "single_image_inference.py", "--img_path", images, "--weights_dir", released, "--crop_size", 32,
        PYTHONIOENCODING="cp1252",
    )  # fmt: skip
    assert scored.out.count("\\u732b") == 14 and "Traceback" not in scored.err, scored.err


OVERWRITING = [
    ("utils.report", ("compare", "one", "two", "--out", "config.yaml"), "config.yaml"),
    ("utils.report", ("compare", "one", "two", "--out", "experiments/one/results.csv"), "results.csv"),
    ("utils.report", ("compare", "one", "two", "--out", "mine.html"), "mine.html"),
    ("utils.report", ("compare", "one", "two", "--out", ""), "--out"),
    ("utils.report.gmad", ("a.csv", "b.csv", "--out", "mine.png"), "mine.png"),
    ("utils.report.gmad", ("a.csv", "b.csv", "--out", "other.png"), "other.csv"),
    ("utils.report.gmad", ("a.csv", "b.csv", "--out", ""), "--out"),
    ("models.export", ("--experiment_name", "one", "--out", "experiments/one/regressors"), "regressor_kadid10k.pth"),
    ("models.export", ("--experiment_name", "one", "--out", "exported"), "ARNIQA.pth"),
    ("models.export", ("--experiment_name", "one", "--out", ""), "--out"),
    ("single_image_inference.py", ("--img_path", "photo.png", "--report", "mine.html"), "mine.html"),
    ("single_image_inference.py", ("--img_path", "photo.png", "--quality_map", "mine.png"), "mine.png"),
    ("single_image_inference.py", ("--img_path", "photo.png", "--output", "config.yaml"), "config.yaml"),
    ("single_image_inference.py", ("--img_path", "photo.png", "--output", ""), "--output"),
    ("data.splits", ("make", "--data_base_path", "data", "--datasets", "kadid10k", "--out", ""), "--out"),
    ("data.quickstart", ("--data_base_path", ""), "--data_base_path"),
    ("data.photo_set", ("--photos", "data", "--out", ""), "--out"),
]


@pytest.fixture(scope="module")
def precious(folder: Path, alone: str, released: Path) -> Path:
    """A working folder with files of the user's own where a command could write."""
    for name in ("one", "two"):
        ignored = shutil.ignore_patterns("last_*")
        shutil.copytree(folder / "experiments" / alone, folder / "experiments" / name, ignore=ignored)
    shutil.copy(folder / "data" / "KADIS700" / "ref_imgs" / "00.png", folder / "photo.png")
    shutil.copy(folder / "photo.png", folder / "mine.png")
    (folder / "mine.html").write_text("<html>my notes</html>", encoding="utf-8")
    (folder / "other.csv").write_text("my,table\n", encoding="utf-8")
    options = ("--img_path", "data/KADID10K/images", "--crop_size", 32, "--weights_dir", released)
    for name, dataset in (("a.csv", "kadid10k"), ("b.csv", "live")):
        scored = quick(folder, "single_image_inference.py", *options, "--regressor_dataset", dataset, "--output", name)
        assert scored.code == 0, scored.err
    (folder / "exported").mkdir()
    shutil.copy(released / "ARNIQA.pth", folder / "exported")
    return folder


@pytest.mark.parametrize(("command", "options", "named"), OVERWRITING)
def test_no_file_of_the_users_is_overwritten(
    precious: Path, released: Path, command: str, options: tuple[str, ...], named: str
) -> None:
    def files() -> dict[Path, tuple[int, int]]:
        found = [path for path in precious.rglob("*") if path.is_file() and not path.name.endswith(".lock")]
        return {path: (path.stat().st_size, path.stat().st_mtime_ns) for path in found}

    before = files()
    ended = quick(precious, command, *options, ARNIQA_WEIGHTS_DIR=released)
    assert named in ended.error
    assert files() == before


def test_own_output_is_replaced(precious: Path, released: Path) -> None:
    for _ in range(2):
        for command, options in (
            ("utils.report", ("compare", "one", "two", "--out", "compared.html")),
            ("utils.report.gmad", ("a.csv", "b.csv", "--quantiles", 1, "--out", "drawn.png")),
            ("models.export", ("--experiment_name", "one", "--out", "again")),
            (
                "single_image_inference.py",
                ("--img_path", "photo.png", "--report", "page.html", "--quality_map", "map.svg", "--crop_size", 48),
            ),
        ):
            done = quick(precious, command, *options, ARNIQA_WEIGHTS_DIR=released)
            assert done.code == 0, done.err


@needs_posix
@pytest.mark.parametrize(
    ("path", "options"),
    [
        ("pipe.yaml", ("--config", "pipe.yaml")),
        ("data/pipes/labels.csv", training("m", "--validation.datasets", "pipes")),
        ("data/piped_settings/dataset.yaml", training("m", "--validation.datasets", "piped_settings")),
        ("data/piped_splits/splits/val.npy", training("m", "--validation.datasets", "piped_splits")),
        ("data/piped_record/splits/made_for.json", training("m", "--validation.datasets", "piped_record")),
    ],
)
def test_a_pipe_is_no_file_to_wait_for(folder: Path, path: str, options: tuple[object, ...]) -> None:
    pipe = folder / path
    if pipe.parent != folder:
        own = write_own_dataset(folder, Path(path).parts[1])
        (own / "splits").mkdir(exist_ok=True)
        for phase in ("train", "val", "test"):
            np.save(own / "splits" / f"{phase}.npy", np.array([[0, 1, 2]]))
    pipe.unlink(missing_ok=True)
    os.mkfifo(pipe)
    error = quick(folder, "main.py", *options).error
    assert pipe.name in error and "regular file" in error


@needs_posix
@pytest.mark.parametrize("name", ["ARNIQA.pth", "regressor_kadid10k.pth"])
def test_weights_in_a_pipe_are_no_file_to_wait_for(folder: Path, released: Path, tmp_path: Path, name: str) -> None:
    for other in ("ARNIQA.pth", "regressor_kadid10k.pth"):
        if other != name:
            shutil.copy(released / other, tmp_path)
    os.mkfifo(tmp_path / name)
    image = folder / "data" / "KADIS700" / "ref_imgs" / "00.png"
    error = quick(folder, "single_image_inference.py", "--img_path", image, "--weights_dir", tmp_path).error
    assert name in error and "regular file" in error


@pytest.mark.parametrize("name", ["ARNIQA.pth", "regressor_kadid10k.pth"])
def test_damaged_weights_give_no_score(folder: Path, released: Path, tmp_path: Path, name: str) -> None:
    """One flipped bit gave another score."""
    shutil.copytree(released, tmp_path, dirs_exist_ok=True)
    flip(tmp_path / name)
    image = folder / "data" / "KADIS700" / "ref_imgs" / "00.png"
    error = quick(folder, "single_image_inference.py", "--img_path", image, "--weights_dir", tmp_path).error
    assert name in error and "damaged" in error


def test_a_damaged_checkpoint_is_not_resumed(folder: Path, alone: str) -> None:
    shutil.copytree(folder / "experiments" / alone, folder / "experiments" / "flipped")
    (last,) = (folder / "experiments" / "flipped" / "pretrain").glob("last_*.pth")
    flip(last)
    error = quick(folder, "main.py", *training("flipped", "--training.resume_training", "true")).error
    assert last.name in error and "damaged" in error


def flip(path: Path) -> None:
    """Changes a bit in the middle of a file, which is one of a weight."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
