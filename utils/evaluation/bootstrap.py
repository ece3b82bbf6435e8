"""Confidence intervals of correlations and proportions: percentile bootstrap, clustered by reference.

The images of all splits are resampled together, and each split counts its images as often as they were sampled. So
images of the same reference, and images that several splits share, are not treated as independent.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from utils.metrics import MIN_IMAGES, plcc, srocc

Array = NDArray[np.float64]
CORRELATIONS = {"srocc": srocc, "plcc": plcc}
RESAMPLES = 1000
CONFIDENCE = 95  # percent
SEED = 27


def resampled(frames: Sequence[pd.DataFrame], metric: str, seed: int, resamples: int) -> Array:
    """Computes a correlation on every split for each bootstrap resample of the images.

    Args:
        frames: predictions of n experiments for the same splits (columns split, row, reference, prediction, score).
        metric: key of `CORRELATIONS`.
        seed: seed of the resampling.
        resamples: number of bootstrap resamples.

    Returns:
        (resamples, splits, n) array; NaN where a resample has fewer than 3 images of a split.
    """
    splits = by_split(frames)
    count = units(frames[0]).max() + 1
    generator = np.random.default_rng(seed)
    figures = np.full((resamples, len(splits), len(frames)), np.nan)
    for resample in figures:
        times = np.bincount(generator.integers(0, count, count), minlength=count)
        for split, (unit, predictions, scores) in enumerate(splits):
            sampled = np.repeat(np.arange(len(scores)), times[unit])
            if len(sampled) >= MIN_IMAGES:
                resample[split] = CORRELATIONS[metric](predictions[:, sampled], scores[sampled])
    return figures


def interval(values: Array) -> Array:
    """Returns the ends of the middle 95 % of the values: (resamples, ...) -> (2, ...), low and high."""
    tail = (100 - CONFIDENCE) / 2
    return np.percentile(values, [tail, 100 - tail], axis=0)


def share_interval(true: NDArray[np.bool_], references: NDArray[np.int64]) -> tuple[float, float]:
    """Returns the 95 % confidence interval of the proportion of true values, from bootstrap resamples of references.

    The interval is too narrow for few references. Its width is 0 if all references have the same proportion.

    Args:
        true: (n,) array with a value per image.
        references: (n,) array with the reference of each image, numbered from 0.

    Returns:
        Low and high; NaN with fewer than two references.
    """
    sizes, hits = np.bincount(references), np.bincount(references, true)
    count = len(sizes)
    if count < 2:
        return float("nan"), float("nan")
    times = np.random.default_rng(SEED).multinomial(count, np.full(count, 1 / count), RESAMPLES)
    low, high = interval(times @ hits / (times @ sizes))
    return float(low), float(high)


def units(tested: pd.DataFrame) -> NDArray[np.int64]:
    """Returns the cluster of each row, numbered from 0: the image's reference, or the image itself without one."""
    return pd.factorize(tested["reference"].where(tested["reference"] != "", tested["row"]))[0]


def by_split(frames: Sequence[pd.DataFrame]) -> list[tuple[NDArray[np.int64], Array, Array]]:
    """Returns for each split the images' `units` (m,), each experiment's predictions (n, m), and the scores (m,)."""
    first, unit = frames[0], units(frames[0])
    predictions = np.stack([frame["prediction"].to_numpy() for frame in frames])
    rows = [np.flatnonzero(first["split"] == split) for split in first["split"].unique()]
    return [(unit[images], predictions[:, images], first["score"].to_numpy()[images]) for images in rows]
