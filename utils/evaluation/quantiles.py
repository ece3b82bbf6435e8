"""The quantiles of a dataset's scores, from which the percentile of a predicted score follows (`ARNIQA.percentile`)."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike


def score_quantiles(scores: ArrayLike, mos_range: Sequence[float], mos_type: str) -> list[float]:
    """The 0 %, 1 %, ..., 100 % quantiles of scores, 101 ascending numbers on the scale of a predicted score.

    Args:
        scores: (N,), of the images.
        mos_range: nominal (lowest, highest) score, which is mapped to [0, 1].
        mos_type: "mos", or "dmos", which is negated so that higher is better.
    """
    low, high = mos_range
    scaled = (np.asarray(scores, np.float64) - low) / (high - low)
    better = 1 - scaled if mos_type == "dmos" else scaled
    return np.quantile(better, np.linspace(0, 1, 101)).tolist()
