"""What the contract's tests share: a small working folder, and the commands run in it as a user runs them.

Nothing here imports what a refactoring may rename: a run is judged by its files, exit code and output.
"""

import csv
import os
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.contract.fork_server import Forked
from tests.processes import LIMIT, end_session, run, started

ROOT = Path(__file__).resolve().parents[2]
STEPS = 5  # in an epoch: 20 training images in batches of 4
CONFIG = """
data_base_path: data
device: cpu
training:
  epochs: 2
  batch_size: 4
  num_workers: 0
  checkpoint_frequency: 2
  data: {patch_size: 32}
validation: {num_splits: 2, visualize: false, datasets: [kadid10k]}
test: {crop_size: 32, batch_size: 4, num_workers: 0, num_splits: 2, grid_search: false, datasets: [kadid10k]}
model: {encoder: {pretrained: false}}
logging: {use_wandb: false}
"""

needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc or at /dev/full")
needs_posix = pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals, pipes or rendezvous")


@dataclass
class Ended:
    """How a command ended: exit code, standard output and standard error."""

    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The one error line of a command that refused its input; notes (of the device, of a range) may come before."""
        lines = self.err.splitlines() or [""]
        errors = [line for line in lines if line.startswith("error: ")]
        assert self.code == 2 and errors == lines[-1:] and "Traceback" not in self.err, (self.code, self.err)
        return errors[0]


def picture(path: Path, rng: np.random.Generator, side: int = 48) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    small = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8))
    small.resize((side, side), Image.Resampling.BICUBIC).save(path)


def write_data(folder: Path) -> None:
    """20 training images, a KADID-10k of 4 references with 3 images each, two splits, and a configuration."""
    rng = np.random.default_rng(0)
    for i in range(20):
        picture(folder / "data" / "KADIS700" / "ref_imgs" / f"{i:02d}.png", rng)
    kadid = folder / "data" / "KADID10K"
    rows = ["dist_img,ref_img,dmos"]
    for reference in range(1, 5):
        for level in range(1, 4):
            name = f"I{reference:02d}_01_{level:02d}.png"
            picture(kadid / "images" / name, rng)
            rows.append(f"{name},I{reference:02d}.png,{rng.uniform(1, 5):.2f}")
    (kadid / "dmos.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    (kadid / "splits").mkdir()
    splits = {"train": [[0, 1, 2], [3, 4, 5]], "val": [range(3, 9), [*range(3), *range(6, 9)]]}
    splits["test"] = [[9, 10, 11]] * 2
    for phase, rows_of in splits.items():
        np.save(kadid / "splits" / f"{phase}.npy", np.array([list(part) for part in rows_of], dtype=np.int64))
    (folder / "config.yaml").write_text(CONFIG, encoding="utf-8")


def write_own_dataset(folder: Path, name: str = "mine", images: int = 12) -> Path:
    """A folder with a labels.csv under data/; its splits are made on first use."""
    own, rng = folder / "data" / name, np.random.default_rng(1)
    for i in range(images):
        picture(own / "images" / f"{i:02d}.png", rng)
    labels = [f"images/{i:02d}.png,{i}" for i in range(images)]
    (own / "labels.csv").write_text("\n".join(["image,score", *labels]) + "\n", encoding="utf-8")
    return own


def environment(**variables: object) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ARNIQA_", "WANDB_"))}
    return kept | {name: str(value) for name, value in variables.items()}


def script(name: str, *options: object) -> list[str]:
    """A script of the top level ("main.py"), or a module ("data.check")."""
    where = [str(ROOT / name)] if name.endswith(".py") else ["-m", name]
    return [sys.executable, *where, *map(str, options)]


def call(folder: Path, name: str, *options: object, **variables: object) -> Ended:
    """Runs a command in `folder` to its end, in an interpreter of its own."""
    done = run(script(name, *options), cwd=folder, env=environment(PYTHONPATH=ROOT, **variables))
    return Ended(done.returncode, done.stdout, done.stderr)


def training(name: str, *options: object) -> tuple[object, ...]:
    """Arguments of main.py and test.py for an experiment of the small configuration."""
    return ("--config", "config.yaml", "--experiment_name", name, *options)


RESUME = ("--training.resume_training", "true")


@contextmanager
def running(
    folder: Path, name: str, *options: object, file_size: int | None = None, **variables: object
) -> Iterator[Any]:
    """A command in `folder`, without the start of an interpreter where the system has fork (see fork_server.py).

    Args:
        file_size: it cannot make larger files, as with `ulimit -f`.
    """
    if not hasattr(os, "fork"):
        environ = environment(PYTHONPATH=ROOT, **variables)
        with started(script(name, *options), cwd=folder, env=environ) as process:
            yield process
        return
    arguments = list(map(str, options))
    forked = Forked(
        name=name, arguments=arguments, folder=str(folder), variables=environment(**variables), file_size=file_size
    )
    try:
        yield forked
    finally:
        end_session(forked)


def quick(folder: Path, name: str, *options: object, **about: Any) -> Ended:
    """Runs a command to its end; see `running`."""
    with running(folder, name, *options, **about) as process:
        return end(process)


def end(process: Any) -> Ended:
    out, err = process.communicate(timeout=LIMIT)
    return Ended(process.returncode, out, err)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def ranks(folders: Sequence[Path], name: str, *options: object, **variables: object) -> Iterator[list[Any]]:
    """One process in each folder, as on machines of which each has a folder of its own."""
    common: dict[str, Any] = {"WORLD_SIZE": len(folders), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port()}
    with ExitStack() as stack:
        processes = []
        for rank, folder in enumerate(folders):
            about = {"RANK": rank, "LOCAL_RANK": 0, **common, **variables}
            processes.append(stack.enter_context(running(folder, name, *options, **about)))
        yield processes


def history(folder: Path, name: str) -> list[dict[str, str]]:
    """The rows of metrics.csv, without the timings."""
    with (folder / "experiments" / name / "metrics.csv").open(newline="", encoding="utf-8") as file:
        return [
            {key: value for key, value in row.items() if key != "images_per_second"} for row in csv.DictReader(file)
        ]


def checkpoints(folder: Path, name: str) -> dict[str, Any]:
    """File name -> content of each checkpoint that is there."""
    pretrain = folder / "experiments" / name / "pretrain"
    found = sorted(pretrain.glob("*.pth"))
    return {path.name: torch.load(path, map_location="cpu", weights_only=True) for path in found}


STATES = ("model_state_dict", "optimizer_state_dict", "scaler_state_dict", "epoch")


def assert_same_training(folder: Path, one: str, other: str) -> None:
    """Bit-identical: names and weights of all checkpoints, optimizer, position and history."""
    assert history(folder, one) == history(folder, other)
    first, second = checkpoints(folder, one), checkpoints(folder, other)
    assert list(first) == list(second)
    for name, content in first.items():
        states = STATES if name.startswith("last_") else (None,)
        for key in states:
            expected, found = (content, second[name]) if key is None else (content[key], second[name][key])
            torch.testing.assert_close(found, expected, rtol=0, atol=0)


def assert_whole(folder: Path) -> None:
    """Nothing half-written is left, and every checkpoint can be read."""
    assert [str(path) for path in folder.rglob("*.partial")] == []
    for path in folder.rglob("*.pth"):
        torch.load(path, map_location="cpu", weights_only=True)
