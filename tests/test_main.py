"""Training and testing from the command line, with one process and with two."""

import csv
import json
import os
import shutil
import sys
from pathlib import Path
from subprocess import CompletedProcess

import pytest
import torch

from models.weights import encoder_hash, load_encoder
from tests import processes
from tests.test_train import ROOT, folder, remove_experiments

__all__ = ["folder", "remove_experiments"]


def run(folder: Path, name: str, *options: str) -> CompletedProcess:
    command = [sys.executable, str(ROOT / "main.py"), "--config", "config.yaml", "--experiment_name", name]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return processes.run([*command, *options], cwd=folder, env=environment)


def test_training_and_testing_writes_all_files(folder: Path) -> None:
    done = run(folder, "whole", "--training.epochs", "1", "--test.compare_untrained", "true")
    assert done.returncode == 0, done.stderr
    experiment = folder / "experiments" / "whole"
    assert {p.name for p in experiment.iterdir() if not p.name.startswith(".")} == {
        "config.yaml",
        "environment.json",
        "metrics.csv",
        "predictions.csv",
        "pretrain",
        "regressors",
        "report.html",
        "results.csv",
        "results.json",
        "results.xlsx",
    }
    with (experiment / "results.csv").open(newline="", encoding="utf-8") as file:
        total = next(row for row in csv.DictReader(file) if row["dataset"] == "kadid10k" and row["group"] == "global")
    assert -1 <= float(total["srocc"]) <= 1 and -1 <= float(total["untrained_srocc"]) <= 1
    assert f"on {total['splits_kind']} splits)" in done.stdout  # the validation's line
    made_with = json.loads((experiment / "environment.json").read_text(encoding="utf-8"))
    assert made_with["splits of kadid10k"] == f"{total['splits_kind']} ({total['splits_hash']})"
    regressor = torch.load(experiment / "regressors" / "regressor_kadid10k.pth", weights_only=True)
    assert regressor["weights"].shape == (1, 4096) and regressor["dataset"] == "kadid10k"

    (best,) = (experiment / "pretrain").glob("best_epoch_*.pth")
    (features,) = (folder / "experiments" / ".features").glob(f"kadid10k_{encoder_hash(load_encoder(best))}_*.float32")
    assert features.stat().st_mtime <= best.stat().st_mtime  # they are those of the validation

    image = next((folder / "data" / "KADID10K" / "images").glob("I01_01_*.png"))
    options = ["--eval_type", "scratch", "--experiment_name", "whole", "--regressor_dataset", "kadid10k"]
    script = [sys.executable, str(ROOT / "single_image_inference.py"), "--img_path", str(image), *options]
    scored = processes.run(script, cwd=folder)
    assert scored.returncode == 0, scored.stderr
    assert any(character.isdigit() for character in scored.stdout)


@pytest.mark.parametrize("key", ["validation.datasets", "test.datasets"])
def test_a_dataset_that_is_too_small_is_reported_before_the_training(folder: Path, key: str) -> None:
    own = folder / "data" / "few"
    (own / "images").mkdir(parents=True, exist_ok=True)
    names = sorted(path.name for path in (folder / "data" / "KADID10K" / "images").iterdir())[:12]
    for name in names:
        shutil.copy(folder / "data" / "KADID10K" / "images" / name, own / "images" / name)
    rows = [f"images/{name},{i}" for i, name in enumerate(names)]
    (own / "labels.csv").write_text("\n".join(["image,score", *rows]) + "\n")
    done = run(folder, "few", f"--{key}", "few")
    assert done.returncode == 2 and "few: split 0 has 1 val images; at least 3 are needed" in done.stderr
    assert not (folder / "experiments" / "few" / "metrics.csv").exists()
