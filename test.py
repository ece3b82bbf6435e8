"""Tests an encoder: features, ridge regression, correlations, files.

python test.py --config config.yaml --eval_type scratch|arniqa [--any.key value]
"""

import argparse
import sys
from collections.abc import Mapping
from dataclasses import asdict

import numpy as np
import torch
from numpy.typing import NDArray

from data import IQADataset, get_dataset
from models.errors import UserError
from models.experiment import FEATURES, Experiment
from models.frozen import frozen
from models.regressor import Regressor
from models.resnet import ResNet
from models.simclr import initial_model
from models.weights import encoder_hash, load_encoder, published_encoder
from utils.command import run_command
from utils.config.command_line import parse_command_line
from utils.config.keys import Config, TestSection
from utils.evaluation.features import cached_features, truncated_note
from utils.evaluation.full_reference import check_sizes, distances
from utils.evaluation.manifold import is_degraded, manifold_embeddings, separability, to_draw
from utils.evaluation.protocol import ALPHAS, DatasetResult, evaluate
from utils.evaluation.quantiles import score_quantiles
from utils.evaluation.results import CrossResult, Results, render, write_results
from utils.evaluation.wandb_results import log_test
from utils.experiment.run_log import wandb_settings
from utils.metrics import plcc, srocc
from utils.regression import RidgePath
from utils.report.page import write_report
from utils.report.pictures import draw_manifold
from utils.runtime.allocator import keep_freed_memory
from utils.runtime.device import choose_algorithms, resolve_device, with_float64
from utils.runtime.distributed import check_same, is_main, on_main, process_group, shared_failure
from utils.runtime.precision import check_precision

Features = NDArray[np.float32]
Fitted = tuple[NDArray[np.float64], float]  # coefficients (4096,) and intercept


def run_test(config: Config, eval_type: str, device: torch.device) -> int:
    """Tests the experiment's best encoder ("scratch") or the released one ("arniqa"); prints and saves the results.

    Leaves results.{csv,json,xlsx}, report.html and regressors/regressor_<dataset>.pth in
    experiments/<experiment_name>/, or for the released encoder in its subfolder arniqa/; those of a full-reference
    test in the subfolder full_reference/ of that.

    Returns:
        The exit code: 1 if a dataset failed. The results of the others are saved all the same.

    Raises:
        UserError: there is no such encoder, or a file cannot be written.
        WeightsError: the encoder's file is damaged, or cannot be fetched.
    """
    trained = Experiment.named(config.experiment_name)
    with shared_failure():
        wandb = wandb_settings(config)
    check_precision("test.precision", config.test.precision, device)

    def load() -> tuple[ResNet, str]:
        if eval_type == "arniqa":
            return published_encoder(), ""
        checkpoint = trained.find_best_checkpoint()
        return load_encoder(checkpoint), checkpoint.name

    encoder, checkpoint = on_main(load)  # the other processes may not see its disk
    experiment = trained.of(eval_type)
    if config.test.full_reference:
        experiment = experiment.full_reference
    results = evaluate_encoder(encoder, config, device, experiment)
    results.checkpoint = checkpoint
    results.published = eval_type == "arniqa"
    results.config = config.to_dict()
    if config.test.compare_untrained and eval_type == "scratch":
        before = initial_model(config.seed, asdict(config.model.encoder), config.model.temperature).encoder
        untrained = evaluate_encoder(before, config, device)
        results.untrained = untrained.whole()
        for name, figures in untrained.separability.items():
            results.separability.setdefault(name, {})["untrained"] = figures["trained"]
    if is_main():
        if results.datasets:
            write_results(results, experiment)
        print(render(results))
        if results.datasets:
            if wandb is not None:
                log_test(experiment, wandb, results)
            print(f"\nresults and regressors are in {experiment.folder}, features in {FEATURES} (they may be deleted)")
        if experiment.folder.is_dir():
            print(f"report: {write_report(experiment)}")
    return int(bool(results.failures))


def evaluate_encoder(
    encoder: ResNet, config: Config, device: torch.device, experiment: Experiment | None = None
) -> Results:
    """Tests an encoder on `test.datasets` as the section `test` says.

    If a dataset fails, standard error and `failures` say why, and the others are tested all the same. With several
    processes all extract features, and the first one does the rest.

    Args:
        encoder: to be tested.
        config: of the test.
        device: where to compute.
        experiment: gets the regressors fitted on whole datasets, and the manifold; None saves neither.
    """
    results = Results(datasets=[], encoder_hash=encoder_hash(encoder), full_reference=config.test.full_reference)
    used = frozen(encoder)

    def extract(images: IQADataset) -> tuple[Features | None, list[int]]:
        return cached_features(
            used,
            images,
            config.test.batch_size,
            config.test.num_workers,
            device,
            cache_dir=FEATURES,
            encoder_hash=results.encoder_hash,
            precision=config.test.precision,
        )

    fitted: dict[str, Fitted] = {}
    tested: dict[str, tuple[IQADataset, Features]] = {}
    for name in config.test.datasets:
        try:
            with shared_failure():
                dataset = get_dataset(name, config.data_base_path, config.test.crop_size, config.test.shorter_side)
            check_same(f"annotation of {name}", dataset.annotation_hash)
            if config.test.full_reference:
                references, of_image = dataset.references()
                with shared_failure():
                    if is_main():
                        check_sizes(dataset, references, of_image)
            features, truncated = extract(dataset)
            notes = truncated_note(dataset, truncated)
            seen = features  # by the regressor
            if config.test.full_reference:
                clean, truncated = extract(references)
                notes += truncated_note(references, truncated)
                if features is not None and clean is not None:
                    seen = distances(features, clean, of_image)
            path = None if seen is None else RidgePath(seen, dataset.mos, with_float64(device))
            found = [_evaluate(path, dataset, config, fraction) for fraction in config.test.train_fraction]
        except UserError as error:
            results.failures[name] = str(error)
            if is_main():
                print(f"{name} failed: {error}", file=sys.stderr)
            continue
        for result in found:
            result.splits_kind, result.splits_hash = dataset.splits_kind, dataset.splits_hash
            result.score_kind = dataset.score_kind
            result.notes += dataset.order_note() + notes
        results.datasets += found
        if path is None or features is None or seen is None or not is_main():
            continue
        if is_degraded(dataset):
            results.separability[name] = {"trained": separability(features, dataset)}
        drawn = config.validation.visualize and name == to_draw(config.test.datasets)
        if experiment is not None and drawn:
            settings = config.validation.visualization
            embeddings = manifold_embeddings(features, dataset)
            draw_manifold(embeddings, dataset, settings, config.seed, experiment, title="Tested encoder")
        # The saved regressor takes the alpha of the largest training fraction.
        best = max(found, key=lambda result: result.train_fraction)
        if experiment is not None or config.test.cross_dataset:
            fitted[name] = path.fit(np.arange(len(dataset.mos)), best.alpha)
            tested[name] = dataset, seen
        if experiment is not None:
            regressor = _regressor(dataset, fitted[name], best, results.encoder_hash, config.test)
            regressor.save(experiment.regressor(name))
    if config.test.cross_dataset:
        results.cross = cross_dataset(fitted, tested)
    return results


def cross_dataset(fitted: Mapping[str, Fitted], tested: Mapping[str, tuple[IQADataset, Features]]) -> list[CrossResult]:
    """Each dataset's regressor on all images of every other dataset. A DMOS is negated, so that higher is better."""
    if not fitted:
        return []
    coefs = np.stack([coef for coef, _ in fitted.values()], axis=1)  # 4096 x n; the intercepts do not matter here
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


def _evaluate(path: RidgePath | None, dataset: IQADataset, config: Config, train_fraction: float) -> DatasetResult:
    test = config.test
    alphas = ALPHAS if test.grid_search else [test.alpha]
    return evaluate(path, dataset, "test", test.num_splits, alphas, train_fraction, config.seed)


def _regressor(
    dataset: IQADataset, fitted: Fitted, result: DatasetResult, encoder: str, test: TestSection
) -> Regressor:
    """A regressor that was fitted on a whole dataset, as its file holds it."""
    coef, intercept = fitted
    return Regressor(
        weights=torch.from_numpy(coef),
        biases=torch.tensor(intercept),
        dataset=dataset.name,
        mos_range=dataset.mos_range,
        mos_type=dataset.mos_type,
        alpha=result.alpha,
        encoder_hash=encoder,
        crop_size=dataset.crop_size,
        shorter_side=dataset.shorter_side,
        precision=test.precision,
        srocc=result.srocc,
        plcc=result.plcc,
        kind="full_reference" if test.full_reference else "no_reference",
        score_quantiles=score_quantiles(dataset.mos, dataset.mos_range, dataset.mos_type),
        score_kind=dataset.score_kind,
    )


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
    choose_algorithms(config.deterministic)
    with process_group(resolve_device(config.device)) as device:
        return run_test(config, arguments.eval_type, device)


if __name__ == "__main__":
    run_command(main)
