"""Safety: nothing that a file holds is executed, texts are escaped, and a name does not leave its folder."""

import io
import os
import pickle
import re
import shutil
import socket
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tests.contract.runs import RESUME, Ended, end, needs_posix, quick, running, training, write_own_dataset
from tests.models.arniqa_files import Released, random_regressor


class Malicious:
    """Its unpickling makes a file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.marker),)


class SetState(nn.Module):
    """A regressor whose TorchScript code writes a file when it is loaded."""

    def __init__(self, marker: str) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.ones(1, 4096))
        self.biases = nn.Parameter(torch.tensor(0.5))
        self.marker = marker

    @torch.jit.export
    def __getstate__(self) -> tuple[torch.Tensor, torch.Tensor, str, bool]:
        return (self.weights, self.biases, self.marker, self.training)

    @torch.jit.export
    def __setstate__(self, state: tuple[torch.Tensor, torch.Tensor, str, bool]) -> None:
        self.weights, self.biases, self.marker, self.training = state[0], state[1], state[2], state[3]
        torch.save(state[0], self.marker)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x @ self.weights.T + self.biases


def score(folder: Path, weights: Path, *options: object, **variables: object) -> Ended:
    image = folder / "data" / "KADIS700" / "ref_imgs" / "00.png"
    command = ("--img_path", image, "--weights_dir", weights, "--crop_size", 32, *options)
    return quick(folder, "single_image_inference.py", *command, **variables)


def scripted(module: nn.Module) -> bytes:
    content = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is deprecated
        torch.jit.save(torch.jit.script(module), content)
    return content.getvalue()


def with_pickle(archive: bytes, content: bytes) -> bytes:
    """An archive whose data.pkl is another one."""
    changed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as old, zipfile.ZipFile(changed, "w") as new:
        for name in old.namelist():
            new.writestr(name, content if name.endswith("/data.pkl") else old.read(name))
    return changed.getvalue()


@pytest.fixture(scope="module", autouse=True)
def waiting(folder: Path) -> Iterator[tuple[str, Any]]:
    """The address of a mirror that never answers, and a command that waits for it while the other tests run."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        image = folder / "data" / "KADIS700" / "ref_imgs" / "00.png"
        variables = {"ARNIQA_WEIGHTS_URL": url, "TORCH_HOME": folder / "hub"}
        with running(folder, "single_image_inference.py", "--img_path", image, **variables) as process:
            yield url, process


@pytest.mark.parametrize("kind", ["archive", "setstate", "regressor", "encoder"])
def test_code_in_a_weights_file_does_not_run(folder: Path, released: Path, tmp_path: Path, kind: str) -> None:
    weights, marker = tmp_path / "weights", tmp_path / "marker"
    shutil.copytree(released, weights)
    path = weights / ("ARNIQA.pth" if kind == "encoder" else "regressor_kadid10k.pth")
    if kind == "archive":
        path.write_bytes(
            with_pickle(scripted(Released(random_regressor(0))), pickle.dumps(Malicious(marker), protocol=2))
        )
    elif kind == "setstate":
        path.write_bytes(scripted(SetState(str(marker))))
    else:
        torch.save({"weights": Malicious(marker)}, path)
    assert path.name in score(folder, weights).error
    assert not marker.exists()
    if kind == "setstate":  # read by torch.jit.load, if the user says so
        (variable,) = re.findall(r"set (\w+)=1", score(folder, weights).error)
        trusted = score(folder, weights, **{variable: 1})
        assert trusted.code == 0 and marker.exists(), trusted.err


def test_released_archives_load(folder: Path, released: Path) -> None:
    assert score(folder, released).code == 0
    assert score(folder, released, "--regressor_dataset", "koniq10k").code == 0


def test_code_in_other_files_does_not_run(folder: Path, alone: str, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    (folder / "tagged.yaml").write_text(f"experiment_name: !!python/object/apply:os.mkdir [{marker}]\n")
    assert "tagged.yaml" in quick(folder, "main.py", "--config", "tagged.yaml").error

    own = write_own_dataset(folder, "pickled")
    (own / "splits").mkdir()
    for phase in ("train", "val", "test"):
        objects = np.array([Malicious(marker)], dtype=object)
        np.save(own / "splits" / f"{phase}.npy", objects, allow_pickle=True)
    refused = quick(folder, "main.py", *training("pickled", "--validation.datasets", "pickled"))
    assert "splits" in refused.error and ".npy" in refused.error

    shutil.copytree(folder / "experiments" / alone, folder / "experiments" / "infected")
    (last,) = (folder / "experiments" / "infected" / "pretrain").glob("last_epoch_*.pth")
    torch.save({"model_state_dict": Malicious(marker)}, last)
    assert last.name in quick(folder, "main.py", *training("infected", *RESUME)).error
    assert not marker.exists()


NAMES = [
    ("main.py", training("m", "--test.datasets", "../mini2"), "../mini2"),
    ("main.py", training("m", "--validation.datasets", "x/../../../v/away"), "x/../../../v/away"),
    ("main.py", training("../m"), "../m"),
    ("main.py", training(".."), "found '..'"),
    ("main.py", training("a\u202eb"), "a\\u202eb"),
    ("main.py", training("a\tb"), "a\\tb"),
    ("main.py", training("ends."), "found 'ends.'"),
    ("main.py", training("ends "), "found 'ends '"),
    ("test.py", training("m", "--test.datasets", "..\\mini"), "mini"),
    ("data.check", ("--data_base_path", "data", "--datasets", "../data/mine"), "../data/mine"),
    ("data.splits", ("make", "--data_base_path", "data", "--datasets", "..", "--out", "o"), "found '..'"),
    ("utils.report", ("--experiment_name", "../elsewhere"), "../elsewhere"),
    ("models.export", ("--experiment_name", "a/b", "--out", "o"), "a/b"),
]


@pytest.mark.parametrize(("command", "options", "found"), NAMES, ids=[f"{name}-{found}" for name, _, found in NAMES])
def test_a_name_does_not_leave_its_folder(folder: Path, command: str, options: tuple[object, ...], found: str) -> None:
    def files() -> set[Path]:
        return {path for path in folder.parent.rglob("*") if path.suffix != ".lock" and "hub" not in path.parts}

    write_own_dataset(folder, "mine")
    before = files()
    ended = quick(folder, command, *options)
    message = ended.error if command != "data.check" else ended.out
    assert found in message and "folder name" in message, ended
    assert files() == before


def test_a_regressors_name_does_not_leave_its_folder(folder: Path, released: Path, tmp_path: Path) -> None:
    weights = tmp_path / "inner"
    weights.mkdir()
    shutil.copy(released / "ARNIQA.pth", weights)
    shutil.copy(released / "regressor_live.pth", tmp_path)
    assert "folder name" in score(folder, weights, "--regressor_dataset", "x/../../regressor_live").error


def test_dots_inside_a_name_are_allowed(folder: Path) -> None:
    ended = quick(folder, "main.py", *training("lr_0.001", "--data_base_path", "nowhere"))
    assert "nowhere" in ended.error


@needs_posix  # Windows has no such names
def test_texts_are_escaped_in_pages(folder: Path, released: Path) -> None:
    hostile = "<img src=x onerror=alert(1)>"
    images = folder / "hostile"
    images.mkdir()
    shutil.copy(folder / "data" / "KADIS700" / "ref_imgs" / "00.png", images / f"{hostile}.png")
    page = folder / "hostile.html"
    done = quick(
        folder, "single_image_inference.py", "--img_path", images, "--weights_dir", released, "--report", page,
        "--crop_size", 32,
    )  # fmt: skip
    assert done.code == 0, done.err
    text = page.read_text(encoding="utf-8")
    assert hostile not in text and "onerror=alert(1)" in text  # escaped, as text and in JSON

    own = write_own_dataset(folder, "types")
    rows = [f"images/{i:02d}.png,{i},r{i // 3},{hostile if i % 3 else 'plain'},{i % 3}" for i in range(12)]
    (own / "labels.csv").write_text("\n".join(["image,score,reference,type,level", *rows]) + "\n", encoding="utf-8")
    options = ("--eval_type", "arniqa", "--test.datasets", "types", "--test.num_splits", 1, "--test.crop_size", 32)
    tested = quick(folder, "test.py", *training("escaped", *options), ARNIQA_WEIGHTS_DIR=released)
    assert tested.code == 0, tested.err
    (report,) = (folder / "experiments" / "escaped").rglob("report.html")
    text = report.read_text(encoding="utf-8")
    assert hostile not in text and "&lt;img src=x onerror=alert(1)&gt;" in text


def test_a_mirror_that_never_answers_is_given_up(waiting: tuple[str, Any]) -> None:
    url, process = waiting
    error = end(process).error
    assert url in error and "timed out" in error
