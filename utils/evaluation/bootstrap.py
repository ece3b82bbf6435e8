"""Confidence intervals of correlations, from images drawn anew (percentile bootstrap).

The images of all splits are drawn with replacement; a split sees each of its images as often as it was drawn. So images
that several splits have in common are not counted as independent.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from utils.metrics import plcc, srocc

Array = NDArray[np.float64]
CORRELATIONS = {"srocc": srocc, "plcc": plcc}
RESAMPLES = 1000
CONFIDENCE = 95  # percent
SEED = 27


def resampled(frames: Sequence[pd.DataFrame], metric: str, seed: int, resamples: int) -> Array:
    """A correlation of every split, for each draw of the images.

    Args:
        frames: the predictions of n experiments for the same splits (columns split, row, prediction, score).
        metric: of `CORRELATIONS`.
        seed: of the draws.
        resamples: how often to draw.

    Returns:
        (resamples, splits, n).
    """
    splits = by_split(frames)
    images = np.unique(np.concatenate([rows for rows, _, _ in splits]))
    positions = [np.searchsorted(images, rows) for rows, _, _ in splits]
    generator = np.random.default_rng(seed)
    figures = np.zeros((resamples, len(splits), len(frames)))
    for of in figures:
        times = np.bincount(generator.integers(0, len(images), len(images)), minlength=len(images))
        for split, (_, predictions, scores) in enumerate(splits):
            drawn = np.repeat(np.arange(len(scores)), times[positions[split]])
            if len(drawn) > 1:  # a split of few images may get less: it counts as 0
                of[split] = CORRELATIONS[metric](predictions[:, drawn], scores[drawn])
    return figures


def interval(values: Array) -> Array:
    """The middle 95 % of the values: (resamples, ...) -> (2, ...), low and high."""
    tail = (100 - CONFIDENCE) / 2
    return np.percentile(values, [tail, 100 - tail], axis=0)


def by_split(frames: Sequence[pd.DataFrame]) -> list[tuple[NDArray[np.int64], Array, Array]]:
    """Of each split the images' rows (m,), each experiment's predictions (n, m), and the scores (m,)."""
    predictions = np.stack([of["prediction"].to_numpy() for of in frames])
    first = frames[0]
    parts = [np.flatnonzero(first["split"] == split) for split in first["split"].unique()]
    return [(first["row"].to_numpy()[p], predictions[:, p], first["score"].to_numpy()[p]) for p in parts]
