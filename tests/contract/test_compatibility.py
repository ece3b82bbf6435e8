"""Compatibility: the published configuration, command lines and weight names, and the names that programs import."""

import importlib
import math
import shutil
from pathlib import Path

import pytest
import torch
from torchvision.models import resnet50

from tests.contract.runs import ROOT, quick, training

# The keys of the published config.yaml with their values, in the order of the published README's sections.
PUBLISHED = """
experiment_name: ""
data_base_path: ""
device: 0
seed: 27
training:
  epochs: 10
  lr: 1e-3
  batch_size: 16
  num_workers: 20
  log_images_frequency: 1000
  checkpoint_frequency: 1000
  resume_training: false
  data:
    patch_size: 224
    max_distortions: 4
    num_levels: 5
    pristine_prob: 0.05
  optimizer:
    name: SGD
    momentum: 0.9
    weight_decay: 1e-4
  lr_scheduler:
    name: CosineAnnealingWarmRestarts
    T_0: 1
    T_mult: 2
    eta_min: 1e-6
validation:
  frequency: 1
  num_splits: 10
  alpha: 0.1
  visualize: true
  visualization:
    tsne: {n_components: 3, perplexity: 30, n_iter: 1000}
    umap: {n_components: 3, n_neighbors: 25, min_dist: 0.2, metric: euclidean}
  datasets: [live, csiq, tid2013, kadid10k, flive, spaq]
test:
  batch_size: 16
  num_workers: 20
  num_splits: 10
  grid_search: true
  alpha: 0.1
  datasets: [live, csiq, tid2013, kadid10k, flive, spaq]
model:
  temperature: 0.1
  encoder:
    embedding_dim: 128
    pretrained: true
    use_norm: true
logging:
  use_wandb: true
  wandb:
    online: true
    project: ""
    entity: ""
"""
OPTIONS = {
    "experiment_name": "new_experiment",
    "data_base_path": "data",
    "device": "-1",
    "training.epochs": "1",
    "training.batch_size": "4",
    "training.num_workers": "0",
    "training.data.patch_size": "32",
    "training.data.max_distortions": "7",
    "validation.num_splits": "2",
    "validation.visualize": "no",
    "validation.datasets": "kadid10k",
    "test.datasets": "kadid10k",
    "test.grid_search": "off",
    "test.num_splits": "2",
    "test.num_workers": "0",
    "test.crop_size": "32",
    "model.encoder.pretrained": "f",
    "logging.use_wandb": "0",
}
SMALL = [word for key, value in OPTIONS.items() for word in (f"--{key}", value)]


def test_the_published_configuration_and_command_lines(folder: Path, released: Path) -> None:
    (folder / "published.yaml").write_text(PUBLISHED, encoding="utf-8")
    trained = quick(folder, "main.py", "--config", "published.yaml", *SMALL)
    assert trained.code == 0, trained.err
    experiment = folder / "experiments" / "new_experiment"
    (best,) = (experiment / "pretrain").glob("best_epoch_0_srocc_*_plcc_*.pth")
    (last,) = (experiment / "pretrain").glob("last_epoch_0_*.pth")
    assert (experiment / "config.yaml").exists() and (experiment / "regressors").is_dir()
    content = torch.load(last, weights_only=True)
    published = {"model_state_dict", "optimizer_state_dict", "scaler_state_dict", "epoch", "config"}
    assert published <= set(content)
    assert weight_names("encoder.") == list(torch.load(best, weights_only=True))

    options = ("--config", "published.yaml", "--eval_type", "arniqa", *SMALL)
    tested = quick(folder, "test.py", *options, ARNIQA_WEIGHTS_DIR=released)
    assert tested.code == 0, tested.err
    options = ("--img_path", ROOT / "assets" / "01.png", "--regressor_dataset", "kadid10k")
    scored = quick(folder, "single_image_inference.py", *options, ARNIQA_WEIGHTS_DIR=released)
    assert scored.code == 0 and math.isfinite(float(scored.out.split()[0])), scored.err


def weight_names(prefix: str) -> list[str]:
    """Those of the release: torchvision's names, with the number of each child in the place of its own name."""
    children = {name: number for number, (name, _) in enumerate(resnet50(weights=None).named_children())}
    names = []
    for name in resnet50(weights=None).state_dict():
        first, rest = name.split(".", 1)
        if first != "fc":
            names.append(f"{prefix}model.{children[first]}.{rest}")
    head = [f"{prefix}projector.{layer}.{kind}" for layer in (0, 2) for kind in ("weight", "bias")]
    return [*names, *head]


NAMES = {
    "utils.distortions": "DISTORTIONS sample_composition degrade",
    "models.resnet": "ResNet",
    "models.simclr": "SimCLR nt_xent_loss",
    "models.arniqa": "ARNIQA",
    "models.weights": "encoder_hash",
    "models.errors": "UserError WeightsError ImageError",
    "models.preprocess": "open_image center_corners_crop half_scale_bicubic half_scale_bilinear",
    "data": "KADIS700Dataset IQA_DATASETS get_dataset",
    "utils.regression": "RidgePath",
    "utils.metrics": "srocc plcc",
}


@pytest.mark.parametrize("module", NAMES)
def test_names_that_programs_import(module: str) -> None:
    assert [name for name in NAMES[module].split() if not hasattr(importlib.import_module(module), name)] == []


def test_a_dataset_has_what_programs_read(folder: Path) -> None:
    from data import IQA_DATASETS, get_dataset

    assert list(IQA_DATASETS)[:8] == ["live", "csiq", "tid2013", "kadid10k", "flive", "spaq", "clive", "koniq10k"]
    kadid = get_dataset("kadid10k", folder / "data")
    assert len(kadid.images) == len(kadid.mos) == len(kadid.ref_images) == len(kadid.distortion_types) == 12
    assert set(kadid.distortion_groups) == {"blur"} and sorted(set(kadid.distortion_levels)) == [1, 2, 3]
    assert (kadid.mos_range, kadid.mos_type) == ((1.0, 5.0), "mos")
    assert kadid.get_split_indices(1, "train").tolist() == [3, 4, 5]


MODULES = (
    "data.quickstart", "data.check", "data.splits", "data.photo_set", "data.score_quantiles", "utils.report",
    "utils.report.gmad", "models.export", "benchmarks",
)  # fmt: skip


@pytest.mark.parametrize("module", MODULES)
def test_modules_that_are_run(tmp_path: Path, module: str) -> None:
    help_text = quick(tmp_path, module, "--help")
    assert help_text.code == 0 and "usage: python -m" in help_text.out and help_text.err == ""


@pytest.mark.parametrize(
    ("mode", "use", "runs"), [("offline", True, 1), ("disabled", True, 0), ("online", False, 0)], ids=str
)
def test_the_switches_of_wandb(folder: Path, alone: str, mode: str, use: bool, runs: int) -> None:
    """Online by the configuration, which nothing here can reach."""
    options = ("--logging.use_wandb", use, "--logging.wandb.online", True, "--logging.wandb.project", "tried")
    shutil.rmtree(folder / "experiments" / alone / "wandb", ignore_errors=True)
    done = quick(folder, "test.py", *training(alone, *options), WANDB_MODE=mode)
    assert done.code == 0 and "did not" not in done.err, done.err
    assert len(list((folder / "experiments" / alone).glob("wandb/offline-run-*/*.wandb"))) == runs


def test_an_unknown_switch_of_wandb_is_one_line(folder: Path, alone: str) -> None:
    options = ("--logging.use_wandb", True, "--logging.wandb.project", "tried")
    for command, name in (("main.py", "silent"), ("test.py", alone)):
        error = quick(folder, command, *training(name, *options), WANDB_MODE="silent").error
        assert "WANDB_MODE" in error and "'silent'" in error and "offline" in error
    assert not (folder / "experiments" / "silent").exists()
