"""Agreement between predicted and subjective quality scores.

Predictions and scores are float arrays of the same length N >= 3. If all predictions or all scores are equal, their
correlation is mathematically undefined. Here it is defined as 0. `is_constant` detects this case.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.stats import kendalltau, rankdata

Array = NDArray[np.float64]
MIN_IMAGES = 3  # with fewer images, a correlation is always undefined, 1 or -1
CONSTANT = 1e-12  # a relative spread below this value is a rounding error


def is_constant(values: Array) -> NDArray[np.bool_]:
    """Whether all values along the last axis are equal up to rounding: (..., N) -> (...)."""
    return np.ptp(values, axis=-1) <= CONSTANT * np.abs(values).max(axis=-1)


def plcc(predictions: Array, scores: Array) -> Array:
    """Returns Pearson's linear correlation coefficient, in [-1, 1]: (..., N) and (N,) -> (...).

    As in the paper, no logistic function is fitted to the predictions first.
    """
    x = predictions - predictions.mean(axis=-1, keepdims=True)
    y = scores - scores.mean()
    norm = np.linalg.norm(x, axis=-1) * np.linalg.norm(y)
    undefined = is_constant(predictions) | is_constant(scores)
    return np.clip(np.where(undefined, 0.0, x @ y / np.where(undefined, 1.0, norm)), -1.0, 1.0)


def srocc(predictions: Array, scores: Array) -> Array:
    """Returns Spearman's rank-order correlation coefficient, in [-1, 1]: (..., N) and (N,) -> (...).

    Tied values get their mean rank.
    """
    undefined = is_constant(predictions) | is_constant(scores)
    return np.where(undefined, 0.0, plcc(rankdata(predictions, axis=-1), rankdata(scores)))


def krocc(predictions: Array, scores: Array) -> float:
    """Returns Kendall's rank correlation coefficient tau-b, in [-1, 1], of (N,) predictions and (N,) scores."""
    if is_constant(predictions) or is_constant(scores):
        return 0.0
    return float(kendalltau(predictions, scores).statistic)


def rmse(predictions: Array, scores: Array) -> float:
    """Returns the root mean squared error, >= 0, in units of the scores, of (N,) predictions and (N,) scores."""
    return float(np.sqrt(np.mean((predictions - scores) ** 2)))


def mae(predictions: Array, scores: Array) -> float:
    """Returns the mean absolute error, >= 0, in units of the scores, of (N,) predictions and (N,) scores."""
    return float(np.mean(np.abs(predictions - scores)))


def all_metrics(predictions: Array, scores: Array) -> dict[str, float]:
    """Returns `srocc`, `plcc`, `krocc`, `rmse` and `mae` of (N,) predictions and (N,) scores."""
    return {
        "srocc": float(srocc(predictions, scores)),
        "plcc": float(plcc(predictions, scores)),
        "krocc": krocc(predictions, scores),
        "rmse": rmse(predictions, scores),
        "mae": mae(predictions, scores),
    }
