"""Validation of the encoder during training: SROCC and PLCC on IQA datasets (paper section 4.1)."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from models.experiment import FEATURES
from models.files import check_writable
from models.inference_encoder import inference_encoder
from models.resnet import ResNet
from models.weights import encoder_hash
from utils.config.keys import Config
from utils.evaluation.dataset import ScoredDataset
from utils.evaluation.features import cached_features, check_images, truncated_note
from utils.evaluation.manifold import manifold_embeddings, to_draw
from utils.evaluation.protocol import check_split_sizes, evaluate
from utils.regression import RidgePath
from utils.runtime.device import check_precision, with_float64
from utils.runtime.distributed import (
    broadcast_buffers,
    broadcast_from_rank0,
    check_same,
    is_rank0,
    raise_on_all_ranks,
    run_on_rank0,
)


@dataclass
class Validation:
    """Result of one validation.

    Attributes:
        encoder_hash: hash of the encoder's weights.
        scores: dataset -> `srocc` and `plcc`, medians over its validation splits.
        drawn: dataset and embeddings for the manifold, on rank 0; None if visualisation is off or the dataset has no
            distortion types.
    """

    encoder_hash: str
    scores: dict[str, dict[str, float]]
    drawn: tuple[ScoredDataset, NDArray[np.float32]] | None = None


def check_validation(datasets: Sequence[ScoredDataset], config: Config, device: torch.device) -> None:
    """Checks before the training that a validation can succeed.

    Raises:
        UserError: an image is missing or is not an image file, a split is too small, the device does not support the
            precision, the features cannot be written, or a dataset differs between ranks.
    """
    check_precision("test.precision", config.test.precision, device)
    with raise_on_all_ranks():
        for dataset in datasets:
            check_images(dataset, range(len(dataset)))
            check_split_sizes(dataset, ("train", "val"), config.validation.num_splits)
        if is_rank0():
            check_writable(FEATURES)
    for dataset in datasets:
        check_same(f"annotation of {dataset.name}", dataset.annotation_hash)
        check_same(f"splits of {dataset.name}", dataset.splits_hash)


def validate(encoder: ResNet, datasets: Sequence[ScoredDataset], config: Config, device: torch.device) -> Validation:
    """Fits a regressor on each validation split with the fixed `validation.alpha` and evaluates its predictions.

    All ranks extract features; rank 0 fits the regressors.

    Raises:
        UserError: an image cannot be read, or the features cannot be written.
    """
    broadcast_buffers(encoder)  # the checkpoint has those of rank 0
    result = Validation(broadcast_from_rank0(encoder_hash(encoder)), {})
    used = inference_encoder(encoder)
    for dataset in datasets:
        features, truncated = cached_features(used, dataset, config.test, device, result.encoder_hash)
        for note in truncated_note(dataset, truncated) if is_rank0() else []:
            print(f"{dataset.name}: {note}", file=sys.stderr)
        result.scores[dataset.name] = run_on_rank0(partial(_scores, features, dataset, config, device))
        drawn = config.validation.visualize and dataset.name == to_draw(config.validation.datasets)
        if drawn and features is not None:
            embeddings = manifold_embeddings(features, dataset)
            result.drawn = (dataset, embeddings) if len(embeddings) else None
    return result


def _scores(
    features: NDArray[np.float32] | None, dataset: ScoredDataset, config: Config, device: torch.device
) -> dict[str, float]:
    assert features is not None  # on rank 0
    path = RidgePath(features, dataset.mos, with_float64(device))
    result = evaluate(path, dataset, "val", config.validation.num_splits, [config.validation.alpha])
    return {metric: result.median(metric) for metric in ("srocc", "plcc")}
