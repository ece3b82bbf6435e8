"""The paper's evaluation protocol on one dataset: ridge regression over splits, and metrics (section 4.2)."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.errors import UserError
from utils.evaluation.bootstrap import RESAMPLES, SEED, interval, resampled, units
from utils.evaluation.dataset import ScoredDataset
from utils.metrics import MIN_IMAGES, all_metrics, is_constant, srocc
from utils.regression import RidgePath, best_alpha

Array = NDArray[np.float64]
METRICS = ("srocc", "plcc", "krocc", "rmse", "mae")
ALPHAS: Array = np.geomspace(1e-3, 1e3, 100, dtype=np.float64)  # candidates of the grid search
GLOBAL = "global"  # the group of all test images; the other groups are the distortion types
TESTED = ["split", "row", "image", "reference", "prediction", "score"]  # columns of `DatasetResult.tested`
EXTREMES = 16  # maximum number of best and of worst predictions


@dataclass
class Prediction:
    image: str
    prediction: float
    score: float
    type: str | None = None  # of the distortion, where the dataset has types
    group: str | None = None


@dataclass
class DatasetResult:
    """Results of one dataset.

    Attributes:
        dataset: name of the dataset.
        alpha: ridge penalty, chosen or given.
        train_fraction: fraction of each training split used for the fit.
        grid: validation SROCC of each split and candidate alpha, (splits, alphas); None without a search.
        scores: group ("global", then the distortion types) -> metric -> value per split. The value is NaN for a type
            with fewer than 3 images in a split. A type with fewer than 3 images in every split is left out.
        predictions: predictions for the first split's images.
        notes: notes on undefined metrics, one line each.
        synthetic: whether the dataset's images are distorted versions of references.
        splits_kind: published, shipped, official or own, see `IQADataset`.
        splits_hash: hash of the row numbers in the dataset's splits.
        score_kind: kind of the scores, one of `SCORE_KINDS`.
        tested: table with a row per split and image of the phase, and the columns `TESTED`. `row` is the image's row
            in the annotation; `reference` is empty without one.
    """

    dataset: str
    alpha: float
    train_fraction: float
    grid: Array | None
    scores: dict[str, dict[str, Array]]
    predictions: list[Prediction]
    notes: list[str] = field(default_factory=list)
    synthetic: bool = False
    splits_kind: str = ""
    splits_hash: str = ""
    score_kind: str = "unstated"
    tested: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=TESTED))

    def median(self, metric: str, group: str = GLOBAL) -> float:
        """Returns the median over the splits that have a value."""
        return float(np.nanmedian(self.scores[group][metric]))

    @cached_property
    def srocc_interval(self) -> tuple[float, float] | None:
        """95 % confidence interval of the median SROCC, see `bootstrap`; None without two references or images."""
        if len(np.unique(units(self.tested))) < 2:
            return None
        low, high = interval(np.nanmedian(resampled([self.tested], "srocc", SEED, RESAMPLES)[:, :, 0], axis=1))
        return float(low), float(high)

    def count(self, group: str = GLOBAL) -> int:
        """Returns the number of the first split's images in the group."""
        return sum(group in (GLOBAL, p.type) for p in self.predictions)

    def by_error(self) -> list[Prediction]:
        """Returns the predictions sorted by absolute error, the smallest first."""
        return sorted(self.predictions, key=lambda p: abs(p.prediction - p.score))

    def best(self) -> list[Prediction]:
        """Returns the predictions with the smallest errors, sorted: 16, or half of fewer than 32."""
        half = (len(self.predictions) + 1) // 2
        return self.by_error()[: min(half, EXTREMES)]

    def worst(self) -> list[Prediction]:
        """Returns the predictions with the largest errors, largest first: 16, or the other half of fewer than 32."""
        half = len(self.predictions) // 2
        return self.by_error()[::-1][: min(half, EXTREMES)]


def evaluate(
    path: RidgePath,
    dataset: ScoredDataset,
    phase: str,
    num_splits: int,
    alphas: Sequence[float] | Array,
    train_fraction: float = 1.0,
    seed: int = 0,
) -> DatasetResult:
    """Fits a regressor on the training images of each split and evaluates its predictions for the images of `phase`.

    Args:
        path: ridge regression on the dataset's N x 5 x d features.
        dataset: dataset of the N images.
        phase: "val" or "test".
        num_splits: number of splits to use; all if the dataset has fewer.
        alphas: one alpha, or candidates: the one with the highest median validation SROCC is then chosen.
        train_fraction: fraction of each training split to fit on, see `training_part`.
        seed: random seed of this fraction.

    Raises:
        UserError: a split has fewer than 3 images in a phase that is used.
    """
    scores = np.asarray(dataset.mos, np.float64)
    search = len(alphas) > 1

    def fit(split: int) -> tuple[NDArray[np.int64], Array, Array | None]:
        """Returns the split's images, their prediction for each alpha, and the validation SROCC of each alpha."""
        train = training_part(dataset, split, train_fraction, seed)
        images = _phase(dataset, split, phase)
        val = _phase(dataset, split, "val") if search else images[:0]
        # The one factorisation of a split serves the search and the test.
        predictions = path.predict(train, np.concatenate([val, images]), alphas)
        validation = srocc(predictions[:, : len(val)], scores[val]) if search else None
        return images, predictions[:, len(val) :], validation

    fitted = [fit(split) for split in range(min(num_splits, dataset.num_splits))]
    grid = np.array([validation for _, _, validation in fitted]) if search else None
    alpha = best_alpha(grid, alphas) if grid is not None else float(alphas[0])
    row = list(alphas).index(alpha)
    chosen = [(images, predictions[row]) for images, predictions, _ in fitted]
    figures, notes = _score_groups(dataset, chosen)
    first = _predictions(dataset, *chosen[0])
    tested = pd.concat([_tested(dataset, split, *each) for split, each in enumerate(chosen)], ignore_index=True)
    return DatasetResult(
        dataset.name, alpha, train_fraction, grid, figures, first, notes, dataset.synthetic, tested=tested
    )


def _score_groups(
    dataset: ScoredDataset, tested: Sequence[tuple[NDArray[np.int64], Array]]
) -> tuple[dict[str, dict[str, Array]], list[str]]:
    """Computes `scores` and `notes` of a `DatasetResult` from each split's images and their predictions."""
    scores = np.asarray(dataset.mos, np.float64)
    types = np.asarray(dataset.distortion_types) if dataset.distortion_types is not None else None
    groups = [GLOBAL, *(sorted(set(types.tolist())) if types is not None else [])]
    figures: dict[str, dict[str, Array]] = {g: {m: np.full(len(tested), np.nan) for m in METRICS} for g in groups}
    notes = []
    for split, (images, predictions) in enumerate(tested):
        for group in groups:
            chosen = np.full(len(images), True) if types is None or group == GLOBAL else types[images] == group
            if chosen.sum() < MIN_IMAGES:
                continue
            predicted, truth = predictions[chosen], scores[images[chosen]]
            for name, value in all_metrics(predicted, truth).items():
                figures[group][name][split] = value
            for what, values in (("predictions", predicted), ("scores", truth)):
                if is_constant(values):
                    notes.append(f"{group}, split {split}: all {what} are equal, so the correlations are set to 0")
    for group in groups:
        few = int(np.isnan(figures[group]["srocc"]).sum())
        if few:
            notes.append(f"{group}: fewer than {MIN_IMAGES} images in {few} of {len(tested)} splits, which are ignored")
    return {g: values for g, values in figures.items() if not np.isnan(values["srocc"]).all()}, notes


def _tested(dataset: ScoredDataset, split: int, images: NDArray[np.int64], predictions: Array) -> pd.DataFrame:
    names = [dataset.images[i].name for i in images]
    references = "" if dataset.ref_images is None else [dataset.ref_images[i] for i in images]
    values = (split, images, names, references, predictions, np.asarray(dataset.mos)[images])
    return pd.DataFrame(dict(zip(TESTED, values, strict=True)))


def _predictions(dataset: ScoredDataset, images: NDArray[np.int64], predictions: Array) -> list[Prediction]:
    nothing = [None] * len(dataset.mos)
    types, groups = dataset.distortion_types or nothing, dataset.distortion_groups or nothing
    return [
        Prediction(str(dataset.images[i]), float(p), float(dataset.mos[i]), types[i], groups[i])
        for i, p in zip(images, predictions, strict=True)
    ]


def training_part(dataset: ScoredDataset, split: int, fraction: float, seed: int) -> NDArray[np.int64]:
    """Samples a fraction of a training split, by reference image if the dataset has them, else by image.

    The sample depends only on the arguments. A smaller fraction is a subset of a larger one.
    """
    train = _phase(dataset, split, "train")
    if fraction == 1:
        return train
    units = train if dataset.ref_images is None else np.asarray(dataset.ref_images)[train]
    order = np.random.default_rng([seed, split]).permutation(np.unique(units))
    part = train[np.isin(units, order[: max(1, round(fraction * len(order)))])]
    if len(part) < MIN_IMAGES:
        raise UserError(
            f"{dataset.name}: train_fraction {fraction:g} leaves {len(part)} training images "
            f"in split {split}; at least {MIN_IMAGES} are needed"
        )
    return part


def mean_over_datasets(scores: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Averages each metric over datasets: {dataset: {metric: value}} -> {metric: value}."""
    metrics = next(iter(scores.values()))
    return {metric: float(np.mean([figures[metric] for figures in scores.values()])) for metric in metrics}


def averages(scores: Mapping[str, Mapping[str, float]], synthetic: Collection[str]) -> dict[str, dict[str, float]]:
    """Averages over the synthetic, the authentic (all others) and all datasets; empty groups are left out."""
    groups = {
        "synthetic": {name: figures for name, figures in scores.items() if name in synthetic},
        "authentic": {name: figures for name, figures in scores.items() if name not in synthetic},
        "all": dict(scores),
    }
    return {group: mean_over_datasets(members) for group, members in groups.items() if members}


def check_split_sizes(dataset: ScoredDataset, phases: Sequence[str], num_splits: int) -> None:
    """Checks that the dataset's splits are large enough for the evaluation.

    Raises:
        UserError: a split has fewer than 3 images in one of the phases.
    """
    for split in range(min(num_splits, dataset.num_splits)):
        for phase in phases:
            _phase(dataset, split, phase)


def _phase(dataset: ScoredDataset, split: int, phase: str) -> NDArray[np.int64]:
    images = dataset.get_split_indices(split, phase)
    if len(images) < MIN_IMAGES:
        raise UserError(
            f"{dataset.name}: split {split} has {len(images)} {phase} images; at least {MIN_IMAGES} are needed"
        )
    return images
