"""Tests an encoder: features, ridge regression, correlations, files.

python test.py --config config.yaml --eval_type scratch|arniqa [--any.key value]
"""

import argparse
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from data import IQADataset, get_dataset
from models.errors import WeightsError
from models.resnet import ResNet
from models.simclr import initial_model
from models.weights import (
    encoder_hash,
    find_best_checkpoint,
    load_encoder,
    published_encoder,
    save_regressor,
)
from utils.allocator import keep_freed_memory
from utils.config import Config, parse_command_line, resolve_device
from utils.distributed import is_main, process_group
from utils.errors import UserError, run_command
from utils.evaluation import ALPHAS, DatasetResult, evaluate
from utils.experiment import EXPERIMENTS, experiment_folder
from utils.features import extract_features
from utils.logging import log_test, wandb_settings
from utils.manifold import is_degraded, separability, to_draw
from utils.metrics import plcc, srocc
from utils.regression import CPU, fit_whole
from utils.report import folder_and_title, write_report
from utils.results import CrossResult, Results, render, write_results
from utils.visualization import draw_manifold

FEATURES = EXPERIMENTS / ".features"  # of all experiments: the names of the files say which encoder's they

Features = NDArray[np.float32]
Regressor = tuple[NDArray[np.float64], float]  # coefficients (4096,) and intercept


def run_test(config: Config, eval_type: str, device: torch.device) -> int:
    """Tests the experiment's best encoder ("scratch") or the released one ("arniqa"); prints and saves the
    results.

    Leaves results.{csv,json,xlsx} and regressors/regressor_<dataset>.pth in experiments/<experiment_name>/,
    for the released encoder in its subfolder arniqa/.

    Returns:
        The exit code: 1 if a dataset failed; the others' results are there all the same.

    Raises:
        UserError: there is no such encoder, or a file cannot be written.
    """
    encoder = _load(config, eval_type)
    folder, title = folder_and_title(config.experiment_name, eval_type)
    results = evaluate_encoder(encoder, config, device, folder)
    results.published = eval_type == "arniqa"
    results.config = config.to_dict()
    if config.test.compare_untrained and eval_type == "scratch":
        before = initial_model(config.seed, asdict(config.model.encoder), config.model.temperature).encoder
        untrained = evaluate_encoder(before, config, device)
        results.untrained = untrained.whole()
        for name, figures in untrained.separability.items():
            results.separability.setdefault(name, {})["untrained"] = figures["trained"]
    if is_main():
        print(render(results))
        if results.datasets:
            write_results(results, folder)
            settings = wandb_settings(config)
            if settings is not None:
                log_test(folder, settings, results)
            print(f"\nresults and regressors are in {folder}, features in {FEATURES} (they may be deleted)")
        if folder.is_dir():
            print(f"report: {write_report(folder, title)}")
    return int(bool(results.failures))


def evaluate_encoder(encoder: ResNet, config: Config, device: torch.device, folder: Path | None = None) -> Results:
    """Tests an encoder on `test.datasets` as the section `test` says.

    A dataset that fails is told on standard error and in `failures`; the others are tested nevertheless.

    Args:
        folder: gets the regressors fitted on whole datasets, and the manifold; None saves neither.
    """
    results = Results(datasets=[], encoder_hash=encoder_hash(encoder))
    fitted: dict[str, Regressor] = {}
    tested: dict[str, tuple[IQADataset, Features]] = {}
    for name in config.test.datasets:
        try:
            dataset = get_dataset(name, config.data_base_path, config.test.crop_size)
            features = extract_features(
                encoder,
                dataset,
                config.test.batch_size,
                config.test.num_workers,
                device,
                cache_dir=FEATURES,
                encoder_hash=results.encoder_hash,
            )
            fractions = config.test.train_fraction
            found = [_evaluate(features, dataset, config, fraction, device) for fraction in fractions]
        except UserError as error:
            results.failures[name] = str(error)
            if is_main():
                print(f"{name} failed: {error}", file=sys.stderr)
            continue
        results.datasets += found
        if is_main() and is_degraded(dataset):
            results.separability[name] = {"trained": separability(features, dataset)}
        if folder is not None and is_main() and config.validation.visualize and name == to_draw(config.test.datasets):
            draw_manifold(
                features, dataset, config.validation.visualization, config.seed, folder, title="Tested encoder"
            )
        # Of several fractions, the largest chooses the alpha of the regressor that is kept.
        best = max(found, key=lambda result: result.train_fraction)
        if folder is not None or config.test.cross_dataset:
            fitted[name] = fit_whole(features, dataset.mos, best.alpha, _with_float64(device))
            tested[name] = dataset, features
        if folder is not None and is_main():
            _save(folder / "regressors", dataset, fitted[name], best, results.encoder_hash)
    if config.test.cross_dataset:
        results.cross = cross_dataset(fitted, tested)
    return results


def cross_dataset(
    fitted: Mapping[str, Regressor], tested: Mapping[str, tuple[IQADataset, Features]]
) -> list[CrossResult]:
    """Each dataset's regressor on all images of every other one; a DMOS counts negatively on either side."""
    if not fitted:
        return []
    coefs = np.stack([coef for coef, _ in fitted.values()], axis=1)  # 4096 x n; intercepts do not matter here
    results = []
    for other, (dataset, features) in tested.items():
        predictions = np.array([crops.mean(axis=0, dtype=np.float64) @ coefs for crops in features])
        scores = np.asarray(dataset.mos, np.float64)
        for name, predicted in zip(fitted, predictions.T, strict=True):
            if name != other:
                same = tested[name][0].mos_type == dataset.mos_type
                aligned = predicted if same else -predicted
                results.append(CrossResult(name, other, float(srocc(aligned, scores)), float(plcc(aligned, scores))))
    return results


def _load(config: Config, eval_type: str) -> ResNet:
    try:
        if eval_type == "arniqa":
            return published_encoder()
        return load_encoder(
            find_best_checkpoint(experiment_folder(config.experiment_name)), config.model.encoder.use_norm
        )
    except WeightsError as error:
        raise UserError(str(error)) from error


def _evaluate(
    features: Features, dataset: IQADataset, config: Config, train_fraction: float, device: torch.device
) -> DatasetResult:
    test = config.test
    alphas = ALPHAS if test.grid_search else [test.alpha]
    return evaluate(features, dataset, "test", test.num_splits, alphas, train_fraction, config.seed, device)


def _save(folder: Path, dataset: IQADataset, regressor: Regressor, result: DatasetResult, encoder: str) -> None:
    coef, intercept = regressor
    try:
        save_regressor(
            folder / f"regressor_{dataset.name}.pth",
            coef,
            intercept,
            dataset=dataset.name,
            alpha=result.alpha,
            mos_range=dataset.mos_range,
            mos_type=dataset.mos_type,
            encoder_hash=encoder,
            srocc=result.srocc,
            plcc=result.plcc,
        )
    except WeightsError as error:
        raise UserError(str(error)) from error


def _with_float64(device: torch.device) -> torch.device:
    return CPU if device.type == "mps" else device


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--eval_type",
        choices=("scratch", "arniqa"),
        default="scratch",
        help="scratch: the encoder of the experiment; arniqa: the weights released by the authors",
    )


def main() -> int:
    keep_freed_memory()
    config, arguments = parse_command_line("Test an encoder on datasets with scores.", _add_arguments)
    with process_group(resolve_device(config.device)) as device:
        return run_test(config, arguments.eval_type, device)


if __name__ == "__main__":
    run_command(main)
