"""The maximum differentiation competition of two models on a folder of images (gMAD, Ma et al., CVPR 2016)."""

import numpy as np
from numpy.typing import NDArray

from models.errors import UserError

Array = NDArray[np.float64]


def competition(defender: Array, attacker: Array, quantiles: int) -> list[tuple[int, int]]:
    """The pairs that one model finds about equal and the other one most different.

    Args:
        defender: scores (N,) of the model whose quantiles the images are divided into, N / quantiles each.
        attacker: scores (N,) of the other model.
        quantiles: how many.

    Returns:
        For each quantile, lowest first, the image that `attacker` rates highest there and the one it rates lowest.

    Raises:
        UserError: a quantile would have less than two images.
    """
    if len(defender) < 2 * quantiles:
        raise UserError(
            f"found {len(defender)} images with scores and --quantiles {quantiles}; a pair in each needs at most "
            f"{len(defender) // 2}"
        )
    pairs = []
    for part in np.array_split(np.argsort(defender, kind="stable"), quantiles):
        order = part[np.argsort(attacker[part], kind="stable")]
        pairs.append((int(order[-1]), int(order[0])))
    return pairs
