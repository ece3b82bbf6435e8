"""utils.evaluation.quantiles: the scale of a predicted score, with the better images higher."""

import numpy as np
import pytest

from utils.evaluation.quantiles import score_quantiles


def test_the_quantiles_of_equal_steps_are_equal_steps() -> None:
    scores = np.random.default_rng(0).permutation(np.arange(1, 302) / 60)
    assert score_quantiles(scores, (0, 10), "mos") == pytest.approx(np.linspace(1 / 600, 301 / 600, 101))


def test_a_dmos_is_turned_round() -> None:
    scores = np.random.default_rng(0).exponential(20, 500)
    mos, dmos = (score_quantiles(scores, (1, 100), kind) for kind in ("mos", "dmos"))
    assert dmos == pytest.approx([1 - value for value in mos[::-1]])
    assert dmos == sorted(dmos) and len(dmos) == 101
    assert dmos[0] == pytest.approx((100 - scores.max()) / 99)  # the highest DMOS is the worst image
