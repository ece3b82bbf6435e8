"""Compares experiments that were tested on the same splits: seeds, ablations."""

import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.errors import UserError
from models.experiment import Experiment
from models.files import parsing
from utils.evaluation.bootstrap import CORRELATIONS, RESAMPLES, by_split, interval, resampled, units
from utils.evaluation.protocol import TESTED
from utils.evaluation.results import SCORE_KINDS, as_text

Array = NDArray[np.float64]
COLUMNS = ["dataset", "train_fraction", *TESTED]


def compare(experiments: Sequence[Experiment], seed: int, resamples: int = RESAMPLES) -> tuple[pd.DataFrame, list[str]]:
    """Compares the tests of two or more experiments, on the datasets that all of them were tested on.

    Args:
        experiments: the first is the one that the others are compared with.
        seed: of the resampling.
        resamples: how often the images are drawn.

    Returns:
        A row per dataset, metric and experiment: median, mean and standard deviation over the splits; of the difference
        to the first experiment (paired: per split) mean and standard deviation over the splits, and the ends of the
        95 % confidence interval of that mean, see `bootstrap`. The rows `all N` have mean and sample standard deviation
        of the experiments' medians. What does not apply is NaN. And the datasets that are left out.

    Raises:
        UserError: an experiment has no predictions, they have no dataset in common, or were tested on other splits.
    """
    tested = [read_tested(experiment) for experiment in experiments]
    names = [name for name in tested[0] if all(name in of for of in tested)]
    if not names:
        raise UserError(f"{', '.join(e.title for e in experiments)}: no dataset was tested in all of them")
    hashes = [_of_datasets(experiment, lambda found: found["splits_hash"], names) for experiment in experiments]
    for name in names:
        _check_same(name, experiments, [of[name] for of in tested], [of[name] for of in hashes])
    rows = [
        row
        for name in names
        for metric in CORRELATIONS
        for row in _rows(name, metric, experiments, [of[name] for of in tested], seed, resamples)
    ]
    return pd.DataFrame(rows), sorted({name for of in tested for name in of} - set(names))


def read_tested(experiment: Experiment) -> dict[str, pd.DataFrame]:
    """Dataset -> its predictions of every split (columns `TESTED`), of whole training splits.

    Raises:
        UserError: there is no such file, or it is not as `write_results` writes it.
    """
    path = experiment.predictions
    with parsing(path, "as test.py writes it", "test the experiment again (test.py)"):
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
        if list(table.columns) != COLUMNS:
            raise ValueError(f"its columns are {', '.join(map(str, table.columns))}")
        table = table.astype({"train_fraction": float, "split": int, "row": int, "prediction": float, "score": float})
        if not np.isfinite(table[["prediction", "score"]]).all(axis=None):
            raise ValueError("a prediction or score is not finite")
    whole = table[table["train_fraction"] == 1].sort_values(["split", "row"])
    return {str(name): of.reset_index(drop=True) for name, of in whole.groupby("dataset", sort=False)}


def score_kinds(experiment: Experiment, names: Sequence[str]) -> dict[str, str]:
    """Dataset -> whose scores they are, in words, for the datasets of these names.

    Raises:
        UserError: results.json is not as `write_results` writes it, or lacks a dataset.
    """
    return _of_datasets(experiment, lambda found: SCORE_KINDS[found["score_kind"]], names)


def _of_datasets(
    experiment: Experiment, value: Callable[[dict[str, Any]], str], names: Sequence[str]
) -> dict[str, str]:
    """Dataset -> a value from its part of results.json."""
    path = experiment.results("json")
    with parsing(path, "as test.py writes it", "test the experiment again (test.py)"):
        content = json.loads(path.read_text(encoding="utf-8"))
        parts = {part["dataset"]: part for part in content["datasets"]}
        return {name: value(parts[name]) for name in names}


def bootstrap(frames: Sequence[pd.DataFrame], metric: str, seed: int, resamples: int = RESAMPLES) -> Array:
    """95 % confidence intervals of the mean over splits of the difference to the first of the frames.

    Args:
        frames: the predictions of n experiments for the same splits, as `read_tested` gives them.
        metric: of `CORRELATIONS`.
        seed: of the draws.
        resamples: how often to draw.

    Returns:
        (n - 1, 2), low and high; NaN with fewer than two references or images.
    """
    if units(frames[0]).max() < 1:
        return np.full((len(frames) - 1, 2), np.nan)
    figures = resampled(frames, metric, seed, resamples)
    return interval(np.nanmean(figures[:, :, 1:] - figures[:, :, :1], axis=1)).T


def table(found: pd.DataFrame) -> str:
    """The table of `compare` as text."""
    return as_text(found.astype(object).where(found.notna(), None))


def _rows(
    name: str, metric: str, experiments: Sequence[Experiment], frames: list[pd.DataFrame], seed: int, resamples: int
) -> list[dict[str, object]]:
    figures = np.array([CORRELATIONS[metric](predictions, scores) for _, predictions, scores in by_split(frames)])
    intervals = bootstrap(frames, metric, seed, resamples)
    rows: list[dict[str, object]] = []
    for i, experiment in enumerate(experiments):
        of = figures[:, i]
        row: dict[str, object] = {"dataset": name, "metric": metric, "experiment": experiment.title, "splits": len(of)}
        row |= {"median": float(np.median(of)), "mean": float(of.mean()), "std": float(of.std())}
        if i:
            difference = of - figures[:, 0]
            row |= {"difference": float(difference.mean()), "difference_std": float(difference.std())}
            row |= dict(zip(("low", "high"), intervals[i - 1].tolist(), strict=True))
        rows.append(row)
    medians = np.median(figures, axis=0)
    together = {"mean": float(medians.mean()), "std": float(medians.std(ddof=1))}
    return [*rows, {"dataset": name, "metric": metric, "experiment": f"all {len(experiments)}", **together}]


def _check_same(
    name: str, experiments: Sequence[Experiment], frames: Sequence[pd.DataFrame], hashes: Sequence[str]
) -> None:
    """Checks the test images of each split, and the hashes, which are of its training and validation images too."""
    same = ["split", "row", "score"]
    for experiment, of, splits in zip(experiments, frames, hashes, strict=True):
        if splits != hashes[0] or not of[same].equals(frames[0][same]):
            raise UserError(
                f"{experiment.predictions}: {name} was tested on other splits or scores than in "
                f"{experiments[0].predictions}; test both on the same splits and as many of them"
            )
