"""The training loop on the small dataset of the contract's tests, whose undisturbed run has what a run leaves."""

import csv
import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch

import train
from data.training_loader import ImageReport, batch_sampler, training_loader, training_set
from main import check_test_sets
from models.errors import UserError
from models.experiment import Experiment
from models.simclr import initial_model, nt_xent_loss
from models.weights import encoder_hash, load_encoder
from tests.contract.conftest import undisturbed
from tests.contract.runs import STEPS, write_own_dataset
from utils.config.command_line import parse_command_line
from utils.config.keys import Config
from utils.experiment.checkpoint import load_checkpoint
from utils.runtime.workers import WorkerDied

__all__ = ["undisturbed"]
QUICK = ("--training.epochs", "1", "--training.checkpoint_frequency", "0", "--validation.frequency", "9")


@pytest.fixture
def folder(tmp_path: Path, undisturbed: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current folder, with the data but without an experiment; checkpoints, of 300 MB, are removed at the end."""
    shutil.copytree(undisturbed / "data", tmp_path / "data")
    shutil.copy(undisturbed / "config.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    shutil.rmtree(tmp_path / "experiments", ignore_errors=True)


def configuration(*options: str) -> Config:
    config, _ = parse_command_line("train", argv=["--config", "config.yaml", "--experiment_name", "tried", *options])
    return config


def refused(*options: str) -> str:
    """The message with which a training ends."""
    config = configuration(*options)
    with pytest.raises(UserError) as error:
        check_test_sets(config)
        train.train(config, torch.device("cpu"))
    assert "\n" not in str(error.value)
    return str(error.value)


def history(experiment: Path) -> list[dict[str, str]]:
    with (experiment / "metrics.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_run_writes_its_files(undisturbed: Path) -> None:
    experiment = undisturbed / "experiments" / "alone"
    files = "config.yaml environment.json metrics.csv predictions.csv pretrain regressors report.html"
    files += " results.csv results.json results.xlsx"
    assert sorted(p.name for p in experiment.iterdir() if not p.name.startswith(".")) == files.split()
    (last,) = Experiment(experiment, "alone").last_checkpoints()
    state, rows = load_checkpoint(last), history(experiment)
    assert (state["epoch"], state["step"], state["validated"]) == (1, STEPS, True)
    assert [int(row["step"]) for row in rows] == [1, 2, 3, 4, 5, 5, 6, 7, 8, 9, 10, 10]
    validated = max((row for row in rows if row["srocc"]), key=lambda row: float(row["srocc"]))
    (best,) = (experiment / "pretrain").glob("best_*")
    assert best.name.startswith(f"best_epoch_{validated['epoch']}_srocc_{float(validated['srocc']):.3f}_plcc_")
    (features,) = (undisturbed / "experiments" / ".features").glob("*.float32")  # of the best encoder only
    assert encoder_hash(load_encoder(best)) in features.name
    assert features.stat().st_mtime <= best.stat().st_mtime  # the test has those of the validation
    with (experiment / "results.csv").open(newline="", encoding="utf-8") as file:
        tested = next(row for row in csv.DictReader(file) if row["dataset"] == "kadid10k")
    made_with = json.loads((experiment / "environment.json").read_text(encoding="utf-8"))
    assert made_with["splits of kadid10k"] == f"{tested['splits_kind']} ({tested['splits_hash']})"


def test_the_learning_rate_follows_the_schedule_at_fractional_epochs(undisturbed: Path) -> None:
    rates = [float(row["learning_rate"]) for row in history(undisturbed / "experiments" / "alone") if row["loss"]]
    # Cosine from 1e-3 to 1e-6 with cycles of 1, 2, 4 ... epochs. The rate of a step is set after the previous step.
    expected = []
    for t in [0, *(np.arange(9) / STEPS)]:
        length, since = (1, t) if t < 1 else (2, t - 1)
        expected.append(1e-6 + (1e-3 - 1e-6) * (1 + np.cos(np.pi * since / length)) / 2)
    np.testing.assert_allclose(rates, expected, rtol=1e-9)


def test_without_half_scale_the_loss_sees_the_full_scale_rows_only(folder: Path) -> None:
    """The losses of an independent loop over the same samples, without their half-scale crops."""
    config = configuration(*QUICK, "--training.data.half_scale", "false", "--training.lr_scheduler.name", "null")
    train.train(config, torch.device("cpu"))
    losses = [float(row["loss"]) for row in history(folder / "experiments" / "tried")]
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


def test_a_dead_worker_ends_the_run_with_a_one_line_message(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def dying(_: object) -> Iterator[None]:
        raise WorkerDied("a data-loading worker died")
        yield

    monkeypatch.setattr(train, "batches", dying)
    message = refused()
    assert message.startswith("a data-loading worker died; resume with ")
    assert message.endswith("--experiment_name tried --training.resume_training true")


def test_a_non_finite_loss_stops_the_run_and_is_not_written(folder: Path) -> None:
    message = refused("--training.lr", "1e30", "--training.lr_scheduler.name", "null")
    assert "the loss is nan at step" in message and "1e+30" in message and "smaller training.lr" in message
    assert "nan" not in (folder / "experiments" / "tried" / "metrics.csv").read_text()


def test_resuming_with_other_validation_splits_is_an_error(
    folder: Path, undisturbed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = folder / "data" / "KADID10K" / "splits" / "val.npy"
    np.save(path, np.load(path)[:, ::-1])
    monkeypatch.chdir(undisturbed)
    options = ("--experiment_name", "alone", "--training.resume_training", "true")
    message = refused(*options, "--data_base_path", str(folder / "data"))
    assert "cannot resume alone: the splits of kadid10k were own (" in message and "are now own (" in message


def test_training_images_are_reported_once_and_too_many_unreadable_ones_end_the_run(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = ImageReport(training_set(configuration()), [])
    for _ in range(2):
        report.report({"truncated": [["1.png: truncated"], ["1.png: truncated"]], "unreadable": [[], []]})
    assert capsys.readouterr().err == "1.png: truncated\n"
    with pytest.raises(UserError, match=r"1 of 20 images cannot be read, more than 1%; .*0\.png: not readable"):
        report.report({"truncated": [], "unreadable": [["0.png: not readable"]]})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--training.batch_size", "21"), "training.batch_size: 21 is more than the 20 images"),
        (("--validation.datasets", "few"), "few: split 0 has 1 val images; at least 3 are needed"),
        (("--test.datasets", "few", "--test.grid_search", "true"), "few: split 0 has 1 val images"),
        (("--validation.datasets", "broken"), "broken: 1 of 30 images cannot be read"),
    ],
)
def test_what_would_fail_later_is_reported_before_the_training(
    folder: Path, options: tuple[str, ...], message: str
) -> None:
    write_own_dataset(folder, "few")
    (write_own_dataset(folder, "broken", images=30) / "images" / "07.png").write_bytes(b"no image")
    assert message in refused(*options)
    assert not (folder / "experiments" / "tried" / "metrics.csv").exists()
