"""Tests an encoder: features, ridge regression, correlations, result files.

python test.py --config config.yaml --eval_type scratch|arniqa [--any.key value]
"""

import argparse
import sys
from collections.abc import Mapping
from dataclasses import asdict
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from data import IQADataset, get_dataset
from models.errors import UserError
from models.experiment import FEATURES, Experiment
from models.inference_encoder import inference_encoder
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
from utils.evaluation.results import CrossResult, Results, results_as_text, write_results
from utils.evaluation.wandb_results import log_test
from utils.experiment.wandb_run import wandb_settings
from utils.metrics import plcc, srocc
from utils.regression import RidgePath
from utils.report.page import write_report
from utils.report.pictures import draw_manifold
from utils.runtime.device import check_precision, choose_algorithms, resolve_device, tune_malloc, with_float64
from utils.runtime.distributed import check_same, is_rank0, process_group, raise_on_all_ranks, run_on_rank0

Features = NDArray[np.float32]


class Extracted(NamedTuple):
    """Features of a dataset, inputs of its regressor (N x 5 x 4096 each, on rank 0 only), and notes.

    The inputs are the features, or in a full-reference test their distances to the features of the references. The
    notes list truncated images.
    """

    features: Features | None
    inputs: Features | None
    notes: list[str]


class Tested(NamedTuple):
    """A tested dataset, the inputs of its regressor (N x 5 x 4096), and the regressor's coefficients (4096,)."""

    dataset: IQADataset
    inputs: Features
    coef: NDArray[np.float64]


def run_test(config: Config, eval_type: str, device: torch.device) -> int:
    """Tests the experiment's best encoder ("scratch") or the released one ("arniqa"); prints and saves the results.

    Writes results.{csv,json,xlsx}, predictions.csv, report.html and regressors/regressor_<dataset>.pth to the folder
    experiments/<experiment_name>/, or for the released encoder to its subfolder arniqa/. A full-reference test writes
    to the subfolder full_reference/ of this folder.

    Returns:
        The exit code: 1 if a dataset failed, else 0. The results of the other datasets are saved in any case.

    Raises:
        UserError: the encoder does not exist, or a file cannot be written.
        WeightsError: the encoder's file is damaged or cannot be downloaded.
    """
    trained = Experiment.named(config.experiment_name)
    with raise_on_all_ranks():
        wandb = wandb_settings(config)
    check_precision("test.precision", config.test.precision, device)

    def load() -> tuple[ResNet, str]:
        if eval_type == "arniqa":
            return published_encoder(), ""
        checkpoint = trained.find_best_checkpoint()
        return load_encoder(checkpoint), checkpoint.name

    encoder, checkpoint = run_on_rank0(load)  # the other processes may not see its disk
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
    if is_rank0():
        if results.datasets:
            write_results(results, experiment)
        print(results_as_text(results))
        if results.datasets:
            if wandb is not None:
                log_test(experiment, wandb, results, config.training.batch_size)
            print(f"\nresults and regressors are in {experiment.folder}, features in {FEATURES} (they may be deleted)")
        if experiment.folder.is_dir():
            print(f"report: {write_report(experiment)}")
    return int(bool(results.failures))


def evaluate_encoder(
    encoder: ResNet, config: Config, device: torch.device, experiment: Experiment | None = None
) -> Results:
    """Tests an encoder on `test.datasets` with the settings of the section `test`.

    If a dataset fails, the error is printed and added to `failures`, and the other datasets are still tested. All ranks
    extract features. Rank 0 does the rest; the results of the other ranks have only `failures`.

    Args:
        encoder: encoder to test.
        config: configuration of the test.
        device: compute device.
        experiment: experiment to save the regressors of whole datasets and the manifold to; None does not save them.
    """
    results = Results(datasets=[], encoder_hash=encoder_hash(encoder), full_reference=config.test.full_reference)
    used = inference_encoder(encoder)
    tested: dict[str, Tested] = {}
    for name in config.test.datasets:
        try:
            with raise_on_all_ranks():
                dataset = get_dataset(name, config.data_base_path, config.test.crop_size, config.test.shorter_side)
            check_same(f"annotation of {name}", dataset.annotation_hash)
            extracted = extract_features(used, dataset, config, device, results.encoder_hash)

            def test(dataset: IQADataset = dataset, extracted: Extracted = extracted) -> None:
                tested[dataset.name] = evaluate_dataset(dataset, extracted, config, device, results, experiment)

            run_on_rank0(test)
        except UserError as error:
            results.failures[name] = str(error)
            if is_rank0():
                print(f"{name} failed: {error}", file=sys.stderr)
    if config.test.cross_dataset:
        results.cross = cross_dataset(tested)
    return results


def extract_features(
    encoder: ResNet, dataset: IQADataset, config: Config, device: torch.device, encoder_hash: str
) -> Extracted:
    """Extracts the features of a dataset, and of its reference images in a full-reference test."""

    def extract(images: IQADataset) -> Features | None:
        features, truncated = cached_features(encoder, images, config.test, device, encoder_hash)
        notes.extend(truncated_note(images, truncated))
        return features

    notes: list[str] = []
    if not config.test.full_reference:
        features = extract(dataset)
        return Extracted(features, features, notes)
    references, of_image = dataset.references()
    run_on_rank0(lambda: check_sizes(dataset, references, of_image))
    features, clean = extract(dataset), extract(references)
    inputs = None if features is None or clean is None else distances(features, clean, of_image)
    return Extracted(features, inputs, notes)


def evaluate_dataset(
    dataset: IQADataset,
    extracted: Extracted,
    config: Config,
    device: torch.device,
    results: Results,
    experiment: Experiment | None,
) -> Tested:
    """Evaluates one dataset on its splits and fits a regressor on the whole dataset; adds the results to `results`."""
    features, inputs, notes = extracted
    assert features is not None and inputs is not None
    path = RidgePath(inputs, dataset.mos, with_float64(device))
    test, alphas = config.test, ALPHAS if config.test.grid_search else [config.test.alpha]
    fits = [evaluate(path, dataset, "test", test.num_splits, alphas, f, config.seed) for f in test.train_fraction]
    for result in fits:
        result.splits_kind, result.splits_hash = dataset.splits_kind, dataset.splits_hash
        result.score_kind = dataset.score_kind
        result.notes += dataset.order_note() + notes
    if is_degraded(dataset):
        results.separability[dataset.name] = {"trained": separability(features, dataset)}
    if experiment is not None and config.validation.visualize and dataset.name == to_draw(test.datasets):
        settings = config.validation.visualization
        embeddings = manifold_embeddings(features, dataset)
        draw_manifold(embeddings, dataset, settings, config.seed, experiment, title="Tested encoder")
    # The saved regressor uses the alpha of the largest training fraction.
    best = max(fits, key=lambda result: result.train_fraction)
    coef, intercept = path.fit(np.arange(len(dataset.mos)), best.alpha)
    if experiment is not None:
        regressor = _regressor(dataset, coef, intercept, best, results.encoder_hash, test)
        regressor.save(experiment.regressor(dataset.name))
    results.datasets += fits
    return Tested(dataset, inputs, coef)


def cross_dataset(tested: Mapping[str, Tested]) -> list[CrossResult]:
    """Tests each dataset's regressor on all images of every other dataset; a DMOS is negated, so higher is better."""
    if not tested:
        return []
    coefs = np.stack([each.coef for each in tested.values()], axis=1)  # 4096 x n; the intercepts do not matter here
    results = []
    for other, (dataset, inputs, _) in tested.items():
        predictions = np.array([crops.mean(axis=0, dtype=np.float64) @ coefs for crops in inputs])
        scores = np.asarray(dataset.mos, np.float64)
        for name, predicted in zip(tested, predictions.T, strict=True):
            if name != other:
                same = tested[name].dataset.mos_type == dataset.mos_type
                aligned = predicted if same else -predicted
                results.append(CrossResult(name, other, float(srocc(aligned, scores)), float(plcc(aligned, scores))))
    return results


def _regressor(
    dataset: IQADataset,
    coef: NDArray[np.float64],
    intercept: float,
    result: DatasetResult,
    encoder: str,
    test: TestSection,
) -> Regressor:
    """Returns the regressor fitted on a whole dataset, with the metadata of its file."""
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
        srocc=result.median("srocc"),
        plcc=result.median("plcc"),
        kind="full_reference" if test.full_reference else "no_reference",
        score_quantiles=score_quantiles(dataset.mos, dataset.mos_range, dataset.mos_type),
        score_kind=dataset.score_kind,
    )


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--eval_type",
        choices=("scratch", "arniqa"),
        default="scratch",
        help="scratch: the experiment's best encoder; arniqa: the released encoder (default: scratch)",
    )


def main() -> int:
    tune_malloc()
    config, arguments = parse_command_line("Test an encoder on datasets with scores.", _add_arguments)
    choose_algorithms(config.deterministic)
    with process_group(resolve_device(config.device), "start again: extracted features are kept") as device:
        return run_test(config, arguments.eval_type, device)


if __name__ == "__main__":
    run_command(main)
