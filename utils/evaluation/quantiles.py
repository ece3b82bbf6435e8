"""Quantiles of a dataset's scores. `ARNIQA.percentile` computes the percentile of a predicted score from them."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike


def score_quantiles(scores: ArrayLike, mos_range: Sequence[float], mos_type: str) -> list[float]:
    """Returns the 0 %, 1 %, ..., 100 % quantiles of scores: 101 ascending numbers on the scale of a predicted score.

    Args:
        scores: (N,) scores of the images.
        mos_range: nominal (lowest, highest) score, mapped to [0, 1].
        mos_type: "mos" or "dmos"; a DMOS is negated so that higher is better.
    """
    low, high = mos_range
    scaled = (np.asarray(scores, np.float64) - low) / (high - low)
    better = 1 - scaled if mos_type == "dmos" else scaled
    return np.quantile(better, np.linspace(0, 1, 101)).tolist()
