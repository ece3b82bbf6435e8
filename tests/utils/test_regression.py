"""Compares utils.regression with separate fits by scikit-learn's Ridge and with the published results."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.stats import spearmanr
from sklearn.linear_model import Ridge

from tests.golden import golden
from utils import regression
from utils.regression import RidgePath, fit_predict, select_alpha

ALPHAS = np.geomspace(1e-3, 1e3, 100)
Array = NDArray[np.float64]


def sklearn_fit(features: Array, scores: Array, train: Array, alpha: float) -> Ridge:
    crops, d = features.shape[1:]
    return Ridge(alpha=alpha).fit(features[train].reshape(-1, d), np.repeat(scores[train], crops))


def sklearn_predict(features: Array, scores: Array, train: Array, images: Array, alpha: float) -> Array:
    model = sklearn_fit(features, scores, train, alpha)
    return model.predict(features[images].reshape(-1, features.shape[2])).reshape(len(images), -1).mean(axis=1)


def plain(n: int, d: int) -> tuple[Array, Array]:
    rng = np.random.default_rng(n * d)
    quality = rng.standard_normal(n)
    features = rng.standard_normal((n, 5, d)) + 0.3 * quality[:, None, None] * rng.standard_normal(d) + 2
    return features, 50 + 10 * quality + rng.standard_normal(n)


def more_rows() -> tuple[Array, Array]:
    return plain(60, 30)


def more_columns() -> tuple[Array, Array]:
    return plain(20, 130)


def nearly_square() -> tuple[Array, Array]:  # some splits have more rows than columns, some fewer
    return plain(40, 120)


def duplicate_and_constant_columns() -> tuple[Array, Array]:
    features, scores = plain(60, 30)
    features[..., 7] = features[..., 3]
    features[..., 11] = 4.0
    return features, scores


def unit_norm() -> tuple[Array, Array]:
    features, scores = plain(60, 30)
    return features / np.linalg.norm(features, axis=2, keepdims=True), scores


CASES = [more_rows, more_columns, nearly_square, duplicate_and_constant_columns, unit_norm]


def random_splits(n: int, fractions: tuple[float, ...] = (0.7, 0.5, 0.3)) -> list[tuple[Array, Array]]:
    splits = []
    for i, fraction in enumerate(fractions):
        order = np.random.default_rng(i).permutation(n)
        splits.append((order[: int(fraction * n)], order[int(fraction * n) :][:9]))
    return splits


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("alpha", [1e-3, 0.1, 1e3])
def test_fit_predict_matches_ridge(case: Callable[[], tuple[Array, Array]], alpha: float) -> None:
    features, scores = case()
    for train, test in random_splits(len(scores)):
        expected = sklearn_predict(features, scores, train, test, alpha)
        np.testing.assert_allclose(fit_predict(features, scores, train, test, alpha), expected, rtol=1e-8)


@pytest.mark.parametrize("case", CASES)
def test_path_matches_ridge_at_every_alpha(case: Callable[[], tuple[Array, Array]]) -> None:
    features, scores = case()
    path = RidgePath(features, scores)
    for train, val in random_splits(len(scores)):
        predictions = path.predict(train, val, ALPHAS)
        for alpha, found in zip(ALPHAS[::11], predictions[::11], strict=True):
            expected = sklearn_predict(features, scores, train, val, alpha)
            np.testing.assert_allclose(found, expected, rtol=1e-8)


@pytest.mark.parametrize("case", CASES)
def test_select_alpha_matches_an_exhaustive_search(case: Callable[[], tuple[Array, Array]]) -> None:
    features, scores = case()
    splits = random_splits(len(scores))
    alphas = ALPHAS[::9]
    alpha, grid = select_alpha(features, scores, splits, alphas)
    expected = [
        [spearmanr(sklearn_predict(features, scores, t, v, a), scores[v]).statistic for a in alphas] for t, v in splits
    ]
    np.testing.assert_allclose(grid, expected, atol=1e-8)
    assert alpha == alphas[np.argmax(np.median(expected, axis=0))]


@pytest.mark.parametrize("case", CASES)
def test_a_fit_on_all_images_matches_ridge(case: Callable[[], tuple[Array, Array]]) -> None:
    features, scores = case()
    coef, intercept = RidgePath(features, scores).fit(np.arange(len(scores)), 0.5)
    model = sklearn_fit(features, scores, np.arange(len(scores)), 0.5)
    np.testing.assert_allclose(coef, model.coef_, atol=1e-8 * np.abs(model.coef_).max())
    assert intercept == pytest.approx(model.intercept_, rel=1e-8)


def test_select_alpha_returns_the_first_of_tied_alphas() -> None:
    features, scores = plain(30, 1)  # one column: the order of the predictions does not depend on alpha
    alpha, grid = select_alpha(features, scores, random_splits(30), [0.1, 1.0, 10.0])
    assert np.ptp(grid, axis=1).max() == 0
    assert alpha == 0.1


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
    c, vectors = (
        torch.from_numpy(rng.standard_normal((30, 1))),
        torch.from_numpy(rng.standard_normal((30, 8))),
    )
    gram = x.T @ x
    by_eigen = regression._solve_eigen(gram.clone(), c, vectors, ALPHAS)
    by_tridiagonal = regression._solve_tridiagonal(gram.clone(), c, vectors, ALPHAS)
    torch.testing.assert_close(by_eigen, by_tridiagonal, rtol=1e-10, atol=1e-12)
    expected = c.T @ torch.linalg.solve(gram + ALPHAS[40] * torch.eye(30, dtype=torch.float64), vectors)
    torch.testing.assert_close(by_eigen[40], expected[0], rtol=1e-10, atol=1e-12)


def test_float32_features_are_computed_in_float64() -> None:
    features, scores = more_rows()
    features = features.astype(np.float32)
    train, test = random_splits(len(scores))[0]
    expected = sklearn_predict(features.astype(np.float64), scores, train, test, 0.1)
    np.testing.assert_allclose(fit_predict(features, scores, train, test, 0.1), expected, rtol=1e-8)


def test_different_numbers_of_features_and_scores_raise_an_error() -> None:
    with pytest.raises(ValueError, match="3 scores"):
        RidgePath(np.zeros((4, 5, 6)), np.zeros(3))


def test_results_match_the_published_code() -> None:
    data = golden("evaluation.npz")
    scores = data["scores"]
    features = data["features"].reshape(len(scores), 5, -1)
    splits = list(zip(data["train"], data["val"], strict=True))
    alpha, _ = select_alpha(features, scores, splits, ALPHAS)
    assert alpha == pytest.approx(float(data["alpha"]), rel=1e-12)
    for i, (train, test) in enumerate(zip(data["train"], data["test"], strict=True)):
        predictions = fit_predict(features, scores, train, test, alpha)
        assert spearmanr(predictions, scores[test]).statistic == pytest.approx(data["srocc/global"][i], abs=1e-8)
        assert np.corrcoef(predictions, scores[test])[0, 1] == pytest.approx(data["plcc/global"][i], abs=1e-8)
    coef, intercept = RidgePath(features, scores).fit(np.arange(len(scores)), alpha)
    np.testing.assert_allclose(coef, data["coef"], atol=1e-8)
    assert intercept == pytest.approx(float(data["intercept"]), abs=1e-8)
