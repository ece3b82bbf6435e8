"""Compares utils.regression with separate fits by scikit-learn's Ridge; test_protocol.py has the published results."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.stats import spearmanr
from sklearn.linear_model import Ridge

from utils import regression
from utils.regression import RidgePath, best_alpha

ALPHAS = np.geomspace(1e-3, 1e3, 100)
Array = NDArray[np.float64]


def sklearn_fit(features: Array, scores: Array, train: Array, alpha: float) -> Ridge:
    crops, d = features.shape[1:]
    rows = features[train].reshape(-1, d).astype(np.float64)
    return Ridge(alpha=alpha).fit(rows, np.repeat(scores[train], crops))


def sklearn_predict(features: Array, scores: Array, train: Array, images: Array, alpha: float) -> Array:
    model = sklearn_fit(features, scores, train, alpha)
    rows = features[images].reshape(-1, features.shape[2]).astype(np.float64)
    return model.predict(rows).reshape(len(images), -1).mean(axis=1)


def plain(n: int, d: int) -> tuple[Array, Array]:
    rng = np.random.default_rng(n * d)
    quality = rng.standard_normal(n)
    features = rng.standard_normal((n, 5, d)) + 0.3 * quality[:, None, None] * rng.standard_normal(d) + 2
    return features, 50 + 10 * quality + rng.standard_normal(n)


def duplicate_and_constant_columns() -> tuple[Array, Array]:
    features, scores = plain(60, 30)
    features[..., 7] = features[..., 3]
    features[..., 11] = 4.0
    return features, scores


def single_precision_of_unit_norm() -> tuple[NDArray[np.float32], Array]:
    features, scores = plain(60, 30)
    return (features / np.linalg.norm(features, axis=2, keepdims=True)).astype(np.float32), scores


CASES = {
    "more rows": plain(60, 30),
    "more columns": plain(20, 130),
    "nearly square": plain(40, 120),  # some splits have more rows than columns, some fewer
    "duplicate and constant columns": duplicate_and_constant_columns(),
    "single precision of unit norm": single_precision_of_unit_norm(),
}


def random_splits(n: int) -> list[tuple[Array, Array]]:
    splits = []
    for i, fraction in enumerate((0.7, 0.5, 0.3)):
        order = np.random.default_rng(i).permutation(n)
        splits.append((order[: int(fraction * n)], order[int(fraction * n) :][:9]))
    return splits


@pytest.mark.parametrize("case", CASES)
def test_predictions_coefficients_and_the_best_alpha_are_those_of_ridge(case: str) -> None:
    features, scores = CASES[case]
    path, splits, alphas = RidgePath(features, scores), random_splits(len(scores)), ALPHAS[::11]
    grid = []
    for train, images in splits:
        predictions = path.predict(train, images, ALPHAS)[::11]
        expected = [sklearn_predict(features, scores, train, images, alpha) for alpha in alphas]
        np.testing.assert_allclose(predictions, expected, rtol=1e-8)
        grid.append([spearmanr(row, scores[images]).statistic for row in expected])
    assert best_alpha(np.array(grid), alphas) == alphas[np.argmax(np.median(grid, axis=0))]
    coef, intercept = path.fit(np.arange(len(scores)), 0.5)
    model = sklearn_fit(features, scores, np.arange(len(scores)), 0.5)
    np.testing.assert_allclose(coef, model.coef_, atol=1e-8 * np.abs(model.coef_).max())
    assert intercept == pytest.approx(model.intercept_, rel=1e-8)


def test_results_do_not_depend_on_the_chunk_size(monkeypatch: pytest.MonkeyPatch) -> None:
    features, scores = plain(60, 30)
    train, val = random_splits(60)[0]
    whole = RidgePath(features, scores).predict(train, val, ALPHAS)
    monkeypatch.setattr(regression, "CHUNK", 7)
    monkeypatch.setattr(regression, "BLOCK", 11)
    np.testing.assert_allclose(RidgePath(features, scores).predict(train, val, ALPHAS), whole, rtol=1e-10)


def test_eigendecomposition_and_tridiagonalisation_agree() -> None:
    rng = np.random.default_rng(0)
    x = torch.from_numpy(rng.standard_normal((50, 30)))
    c, vectors = (torch.from_numpy(rng.standard_normal((30, count))) for count in (1, 8))
    gram = x.T @ x
    by_eigen = regression._solve_eigen(gram.clone(), c, vectors, ALPHAS)
    by_tridiagonal = regression._solve_tridiagonal(gram.clone(), c, vectors, ALPHAS)
    torch.testing.assert_close(by_eigen, by_tridiagonal, rtol=1e-10, atol=1e-12)
    expected = c.T @ torch.linalg.solve(gram + ALPHAS[40] * torch.eye(30, dtype=torch.float64), vectors)
    torch.testing.assert_close(by_eigen[40], expected[0], rtol=1e-10, atol=1e-12)
