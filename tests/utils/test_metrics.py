"""Compares utils.metrics with SciPy and scikit-learn."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kendalltau, pearsonr, spearmanr
from sklearn.metrics import mean_absolute_error

from utils.metrics import all_metrics, is_constant, plcc, srocc


@given(st.integers(0, 10_000), st.integers(3, 40), st.booleans())
def test_metrics_match_scipy(seed: int, n: int, ties: bool) -> None:
    rng = np.random.default_rng(seed)
    p, t = rng.standard_normal(n), rng.standard_normal(n)
    if ties:
        p[1], t[0] = p[0], t[2]
    found = all_metrics(p, t)
    assert found["srocc"] == pytest.approx(spearmanr(p, t).statistic, abs=1e-12)
    assert found["plcc"] == pytest.approx(pearsonr(p, t).statistic, abs=1e-12)
    assert found["krocc"] == pytest.approx(kendalltau(p, t).statistic, abs=1e-12)
    assert found["mae"] == pytest.approx(mean_absolute_error(t, p))
    assert found["rmse"] == pytest.approx(float(np.sqrt(np.mean((p - t) ** 2))))


def test_metrics_of_several_predictions_at_once() -> None:
    rng = np.random.default_rng(0)
    p, t = rng.standard_normal((6, 20)), rng.standard_normal(20)
    np.testing.assert_allclose(srocc(p, t), [spearmanr(row, t).statistic for row in p], atol=1e-12)
    np.testing.assert_allclose(plcc(p, t), [pearsonr(row, t).statistic for row in p], atol=1e-12)


@pytest.mark.parametrize("constant", [np.zeros(5), np.full(5, 3.7), 3.7 + 1e-15 * np.arange(5)])
def test_correlations_of_constant_values_are_zero(constant: np.ndarray) -> None:
    scores = np.arange(5.0)
    assert is_constant(constant)
    for found in (all_metrics(constant, scores), all_metrics(scores, constant)):
        assert (found["srocc"], found["plcc"], found["krocc"]) == (0, 0, 0)
    assert not is_constant(scores)
