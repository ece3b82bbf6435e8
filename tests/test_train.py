"""The training loop on a small dataset: kills, stops and errors. Each run is a separate process."""

import csv
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from data.training_loader import batch_sampler, training_loader, training_set
from models.errors import UserError
from models.experiment import Experiment
from models.simclr import initial_model, nt_xent_loss
from models.weights import encoder_hash, load_encoder
from tests.processes import run
from train import train
from utils.config.command_line import parse_command_line
from utils.config.yaml_file import load_config
from utils.experiment.checkpoint import load_checkpoint

ROOT = Path(__file__).resolve().parents[1]
RUN = """
import sys, torch
sys.path.insert(0, {root!r})
torch.set_num_threads(1)
torch.use_deterministic_algorithms(True)
from train import Stopped, train
from utils.config.command_line import parse_command_line
from utils.command import run_command
from utils.runtime.device import resolve_device
def main():
    config, _ = parse_command_line("train")
    try:
        train(config, resolve_device(config.device))
    except Stopped as stopped:
        print(stopped, file=sys.stderr)
        return 128 + stopped.signal_number
run_command(main)
"""
CONFIG = """
data_base_path: data
device: cpu
training:
  epochs: 2
  lr: 1e-3
  batch_size: 4
  num_workers: 0
  checkpoint_frequency: 2
  data: {patch_size: 32}
validation: {num_splits: 2, visualize: false, datasets: [kadid10k]}
test: {crop_size: 32, batch_size: 4, num_workers: 0, datasets: [kadid10k]}
model: {encoder: {pretrained: false}}
logging: {use_wandb: false}
"""
STEPS = 5  # steps per epoch: 20 images in batches of 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("train")
    write_small_run(folder)
    return folder


def write_small_run(folder: Path) -> None:
    """A working directory with 20 training images and a small KADID-10k: 4 references, one type, 3 levels."""
    rng = np.random.default_rng(0)
    pristine, kadid = folder / "data" / "KADIS700" / "ref_imgs", folder / "data" / "KADID10K"
    pristine.mkdir(parents=True)
    (kadid / "images").mkdir(parents=True)
    (kadid / "splits").mkdir()

    def picture(path: Path) -> None:
        small = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8))
        small.resize((48, 48), Image.Resampling.BICUBIC).save(path)

    for i in range(20):
        picture(pristine / f"{i:02d}.png")
    rows = ["dist_img,ref_img,dmos"]
    for reference in range(1, 5):
        picture(kadid / "images" / f"I{reference:02d}.png")
        for level in range(1, 4):
            name = f"I{reference:02d}_01_{level:02d}.png"
            picture(kadid / "images" / name)
            rows.append(f"{name},I{reference:02d}.png,{rng.uniform(1, 5):.2f}")
    (kadid / "dmos.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    splits = {"train": [[0, 1, 2], [3, 4, 5]], "val": [range(3, 9), [*range(3), *range(6, 9)]]}
    splits["test"] = [[9, 10, 11]] * 2
    for phase, indices in splits.items():
        np.save(kadid / "splits" / f"{phase}.npy", np.array([list(i) for i in indices], dtype=np.int64))
    (folder / "config.yaml").write_text(CONFIG, encoding="utf-8")


@pytest.fixture(autouse=True)
def remove_experiments(folder: Path) -> Iterator[None]:
    """Deletes the experiments after each test, because the checkpoints of a run take 300 MB. Keeps `uninterrupted`."""
    yield
    for experiment in (folder / "experiments").glob("*"):
        if experiment.is_dir() and experiment.name != "uninterrupted":
            shutil.rmtree(experiment)


def finish(folder: Path, name: str, *options: str) -> tuple[int, str, str]:
    command = [sys.executable, "-c", RUN.format(root=str(ROOT)), "--config", "config.yaml", "--experiment_name", name]
    ended = run([*command, *options], cwd=folder)
    return ended.returncode, ended.stdout, ended.stderr


def train_here(folder: Path, name: str, monkeypatch: pytest.MonkeyPatch, *options: str) -> None:
    """A training in this process."""
    monkeypatch.chdir(folder)
    config, _ = parse_command_line("train", argv=["--config", "config.yaml", "--experiment_name", name, *options])
    train(config, torch.device("cpu"))


def refused(folder: Path, name: str, monkeypatch: pytest.MonkeyPatch, *options: str) -> str:
    """The message with which a training in this process ends."""
    with pytest.raises(UserError) as error:
        train_here(folder, name, monkeypatch, *options)
    assert "\n" not in str(error.value)
    return str(error.value)


def outcome(folder: Path, name: str) -> tuple[dict, list[dict], list[str]]:
    """The final state, the history without the timings, and the names of the checkpoints."""
    pretrain = folder / "experiments" / name / "pretrain"
    state = load_checkpoint(Experiment(pretrain.parent, name).last_checkpoints()[-1])
    with (pretrain.parent / "metrics.csv").open(newline="", encoding="utf-8") as file:
        history = [{k: v for k, v in row.items() if k != "images_per_second"} for row in csv.DictReader(file)]
    return state, history, sorted(p.name for p in pretrain.iterdir() if not p.name.startswith("."))


def assert_same(one: tuple, other: tuple) -> None:
    """Checks that the weights, optimizer, scheduler and history are bit-identical."""
    for key in ("model_state_dict", "optimizer_state_dict", "scheduler_state_dict", "scaler_state_dict"):
        torch.testing.assert_close(one[0][key], other[0][key], rtol=0, atol=0)
    for key in ("epoch", "step", "validated", "best"):
        assert one[0][key] == other[0][key]
    assert one[1] == other[1]
    assert one[2] == other[2]


@pytest.fixture(scope="module")
def uninterrupted(folder: Path) -> tuple:
    code, _, err = finish(folder, "uninterrupted")
    assert code == 0, err
    return outcome(folder, "uninterrupted")


def test_a_run_writes_its_checkpoints_and_history(folder: Path, uninterrupted: tuple) -> None:
    state, history, names = uninterrupted
    best_encoder = encoder_hash(load_encoder(folder / "experiments" / "uninterrupted" / "pretrain" / names[0]))
    (features,) = (folder / "experiments" / ".features").glob("*.float32")  # of the best encoder only
    assert best_encoder in features.name
    assert (state["epoch"], state["step"], state["validated"]) == (1, STEPS, True)
    assert [int(row["step"]) for row in history] == [1, 2, 3, 4, 5, 5, 6, 7, 8, 9, 10, 10]
    best = max((row for row in history if row["srocc"]), key=lambda row: float(row["srocc"]))
    assert names[0].startswith(f"best_epoch_{best['epoch']}_srocc_{float(best['srocc']):.3f}_plcc_")
    assert names[1].startswith("last_epoch_1_srocc_")
    assert len(names) == 2


def test_the_learning_rate_follows_the_schedule_at_fractional_epochs(uninterrupted: tuple) -> None:
    rates = [float(row["learning_rate"]) for row in uninterrupted[1] if row["loss"]]
    # Cosine from 1e-3 to 1e-6 with cycles of 1, 2, 4 ... epochs. The rate of a step is set after the previous step.
    positions = [0, *(np.arange(9) / STEPS)]
    expected = []
    for t in positions:
        length, since = (1, t) if t < 1 else (2, t - 1)
        expected.append(1e-6 + (1e-3 - 1e-6) * (1 + np.cos(np.pi * since / length)) / 2)
    np.testing.assert_allclose(rates, expected, rtol=1e-9)


@pytest.mark.skipif(os.name == "nt", reason="sends SIGKILL")
def test_a_dead_worker_ends_the_run_with_a_one_line_message(folder: Path) -> None:
    dying = """
import multiprocessing, os, signal
multiprocessing.set_start_method("fork")  # so that the worker has the change below
from data import KADIS700Dataset
read = KADIS700Dataset.__getitem__
def read_or_die(self, position):
    if position[0] == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return read(self, position)
KADIS700Dataset.__getitem__ = read_or_die
"""
    code = RUN.format(root=str(ROOT)).replace("def main", dying + "def main", 1)
    command = [sys.executable, "-c", code, "--config", "config.yaml", "--experiment_name", "dying"]
    ended = run([*command, "--training.num_workers", "1"], cwd=folder)
    message = one_line_error((ended.returncode, ended.stdout, ended.stderr))
    assert "a data-loading worker died" in message and "--training.resume_training true" in message


def one_line_error(result: tuple[int, str, str]) -> str:
    code, _, err = result
    assert code == 2
    lines = err.strip().splitlines()
    assert len(lines) == 1, err
    return lines[0]


def test_resuming_with_other_validation_splits_is_an_error(
    folder: Path, uninterrupted: tuple, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = folder / "data" / "KADID10K" / "splits" / "val.npy"
    before = path.read_bytes()
    np.save(path, np.load(path)[:, ::-1])
    try:
        message = refused(folder, "uninterrupted", monkeypatch, "--training.resume_training", "true")
    finally:
        path.write_bytes(before)
    assert "cannot resume uninterrupted: the splits of kadid10k were own (" in message and "are now own (" in message


def test_a_non_finite_loss_stops_the_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    message = refused(folder, "diverged", monkeypatch, "--training.lr", "1e30", "--training.lr_scheduler.name", "null")
    assert "the loss is nan at step" in message and "1e+30" in message
    assert "smaller training.lr" in message


def test_without_half_scale_the_loss_sees_the_full_scale_rows_only(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The losses of an independent loop over the same samples, without their half-scale crops."""
    options = ("--training.epochs", "1", "--training.data.half_scale", "false", "--validation.frequency", "9")
    train_here(folder, "full", monkeypatch, *options, "--training.lr_scheduler.name", "null")
    with (folder / "experiments" / "full" / "metrics.csv").open(newline="", encoding="utf-8") as file:
        losses = [float(row["loss"]) for row in csv.DictReader(file)]
    config = load_config(folder / "config.yaml", {"experiment_name": "full"})
    model = initial_model(config.seed, asdict(config.model.encoder), config.model.temperature)
    model = model.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9, weight_decay=1e-4)
    dataset = training_set(config)
    expected = []
    for batch in training_loader(dataset, batch_sampler(dataset, config), 0, pin_memory=False):
        assert len(batch["view_a"]) == 8
        both = [batch[f"view_{view}"][:4].contiguous(memory_format=torch.channels_last) for view in "ab"]
        loss = nt_xent_loss(*(model.encoder(view)[1] for view in both))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        expected.append(loss.item())
    np.testing.assert_allclose(losses, expected, rtol=1e-4)


def test_too_many_unreadable_images_end_the_run(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "0.png").write_bytes(b"no image")
    for i in range(1, 20):
        (tmp_path / f"{i}.png").write_bytes((folder / "data/KADIS700/ref_imgs" / f"{i:02d}.png").read_bytes())
    message = refused(folder, "unreadable", monkeypatch, "--training.data.pristine_path", str(tmp_path))
    assert "1 of 20 images cannot be read, more than 1%" in message and "0.png" in message


def test_a_truncated_training_image_is_used_and_named_once(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for i in range(20):
        content = (folder / "data/KADIS700/ref_imgs" / f"{i:02d}.png").read_bytes()
        (tmp_path / f"{i}.png").write_bytes(content if i else content[: len(content) // 2])
    fast = ("--training.checkpoint_frequency", "0", "--validation.frequency", "9")
    train_here(folder, "truncated", monkeypatch, "--training.data.pristine_path", str(tmp_path), *fast)
    out, err = capsys.readouterr()
    assert err.count(f"{tmp_path / '0.png'}: truncated") == 1
    assert "unreadable" not in out


def test_an_unreadable_validation_image_is_named_before_the_training(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(folder / "data" / "KADID10K", tmp_path / "KADID10K")
    (tmp_path / "KADID10K" / "images" / "I02_01_01.png").write_bytes(b"no image")
    pristine = str(folder / "data" / "KADIS700" / "ref_imgs")
    options = ("--data_base_path", str(tmp_path), "--training.data.pristine_path", pristine)
    message = refused(folder, "unreadable", monkeypatch, *options)
    assert "kadid10k: 1 of 12 images cannot be read" in message and "I02_01_01.png" in message
    assert not (folder / "experiments" / "unreadable" / "metrics.csv").exists()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--training.batch_size", "21"), "training.batch_size: 21 is more than the 20 images"),
        (("--data_base_path", "nowhere"), "nowhere"),
    ],
)
def test_bad_input_gives_a_one_line_message(
    folder: Path, options: tuple[str, ...], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert expected in refused(folder, "bad", monkeypatch, *options)
