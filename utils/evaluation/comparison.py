"""Compares experiments that were tested on the same splits: seeds, ablations."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from models.errors import UserError
from models.experiment import Experiment
from models.files import parsing
from models.regressor import SCORE_KINDS
from utils.evaluation.bootstrap import CORRELATIONS, RESAMPLES, by_split, interval, resampled, units
from utils.evaluation.protocol import TESTED
from utils.evaluation.results import TEST

Array = NDArray[np.float64]
COLUMNS = [*TEST, *TESTED]


def compare(experiments: Sequence[Experiment], seed: int, resamples: int = RESAMPLES) -> tuple[pd.DataFrame, list[str]]:
    """Compares the tests of two or more experiments, on the datasets that all of them were tested on.

    Args:
        experiments: two or more experiments; the first one is the baseline.
        seed: seed of the resampling.
        resamples: number of bootstrap resamples.

    Returns:
        A table and notes. The table has a row per dataset, metric and experiment: median, mean and standard deviation
        over the splits, then mean and standard deviation of the paired difference to the first experiment, and the 95 %
        confidence interval of this mean (`bootstrap`). The rows `all N` have the mean and sample standard deviation of
        the experiments' medians. Values that do not apply are NaN. The notes have a line per dataset: the kind of its
        scores, or why it is not compared.

    Raises:
        UserError: an experiment has no predictions, or the experiments have no dataset in common or were tested on
            different splits.
    """
    tested = [read_tested(experiment) for experiment in experiments]
    names = [name for name in tested[0] if all(name in datasets for datasets in tested)]
    if not names:
        raise UserError(f"{', '.join(e.title for e in experiments)}: no dataset was tested in all of them")
    tables = {}
    for name in names:
        frames = [datasets[name] for datasets in tested]
        _check_same(name, experiments, frames)
        for metric in CORRELATIONS:
            tables[name, metric] = _table(metric, [e.title for e in experiments], frames, seed, resamples)
    table = pd.concat(tables, names=["dataset", "metric"]).reset_index(["dataset", "metric"])
    notes = [f"{name}: {SCORE_KINDS[tested[0][name]['score_kind'].iloc[0]]}" for name in names]
    left_out = sorted(set[str]().union(*tested) - set(names))
    notes += [f"{name}: left out, because not all of the experiments were tested on it" for name in left_out]
    return table.reset_index(drop=True), notes


def read_tested(experiment: Experiment) -> dict[str, pd.DataFrame]:
    """Reads predictions.csv: dataset -> predictions of the regressors fitted on whole training splits.

    Raises:
        UserError: the file is missing or was not written by `write_results`.
    """
    with parsing(experiment.predictions, "as test.py writes it", "test the experiment again (test.py)"):
        table = pd.read_csv(experiment.predictions, dtype=str, keep_default_na=False)
        if list(table.columns) != COLUMNS:
            raise ValueError(f"its columns are {', '.join(map(str, table.columns))}")
        table = table.astype({"train_fraction": float, "split": int, "row": int, "prediction": float, "score": float})
        if not np.isfinite(table[["prediction", "score"]]).all(axis=None):
            raise ValueError("a prediction or score is not a finite number")
        unknown = set(table["score_kind"]) - set(SCORE_KINDS)
        if unknown:
            raise ValueError(f"the score kind {unknown.pop()} is unknown")
    whole = table[table["train_fraction"] == 1].sort_values(["split", "row"])
    return {name: frame.reset_index(drop=True) for name, frame in whole.groupby("dataset", sort=False)}


def bootstrap(frames: Sequence[pd.DataFrame], metric: str, seed: int, resamples: int = RESAMPLES) -> Array:
    """Returns 95 % confidence intervals of the mean difference to the first frame over the splits.

    Args:
        frames: predictions of n experiments for the same splits, see `read_tested`.
        metric: key of `CORRELATIONS`.
        seed: seed of the resampling.
        resamples: number of bootstrap resamples.

    Returns:
        (n - 1, 2) array of low and high; NaN with fewer than two references or images.
    """
    if units(frames[0]).max() < 1:
        return np.full((len(frames) - 1, 2), np.nan)
    figures = resampled(frames, metric, seed, resamples)
    return interval(np.nanmean(figures[:, :, 1:] - figures[:, :, :1], axis=1)).T


def _table(metric: str, titles: Sequence[str], frames: list[pd.DataFrame], seed: int, resamples: int) -> pd.DataFrame:
    """Returns the rows of one dataset and metric."""
    figures = np.array([CORRELATIONS[metric](predictions, scores) for _, predictions, scores in by_split(frames)])
    medians, differences = np.median(figures, axis=0), figures - figures[:, :1]
    table = pd.DataFrame({"experiment": titles, "splits": len(figures), "median": medians})
    table["mean"], table["std"] = figures.mean(axis=0), figures.std(axis=0)
    table["difference"], table["difference_std"] = differences.mean(axis=0), differences.std(axis=0)
    table[["low", "high"]] = np.vstack([[np.nan, np.nan], bootstrap(frames, metric, seed, resamples)])
    table.loc[0, ["difference", "difference_std"]] = np.nan
    together = {"experiment": f"all {len(titles)}", "mean": medians.mean(), "std": medians.std(ddof=1)}
    return pd.concat([table, pd.DataFrame([together])], ignore_index=True)


def _check_same(name: str, experiments: Sequence[Experiment], frames: Sequence[pd.DataFrame]) -> None:
    """Checks that all frames have the same test images and scores in each split, and the same hash of the splits."""
    same = ["splits_hash", "score_kind", "split", "row", "score"]
    for experiment, frame in zip(experiments, frames, strict=True):
        if not frame[same].equals(frames[0][same]):
            raise UserError(
                f"{experiment.predictions}: {name} was tested on other splits or scores than in "
                f"{experiments[0].predictions}; test both on the same splits, and on the same number of splits"
            )
