"""The confidence interval of a test's SROCC."""

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from tests.utils.evaluation.test_comparison import frame
from utils.evaluation.bootstrap import share_interval
from utils.evaluation.protocol import METRICS, DatasetResult


def result(predictions: pd.DataFrame) -> DatasetResult:
    nothing = {metric: np.zeros(1) for metric in METRICS}
    return DatasetResult("live", 0.1, 1.0, None, {"global": nothing}, [], tested=predictions)


def test_the_interval_of_one_split_is_that_of_scipy() -> None:
    one = frame(1.0, seed=1, splits=1)
    expected = scipy.stats.bootstrap(
        (one["prediction"].to_numpy(), one["score"].to_numpy()), lambda a, b: scipy.stats.spearmanr(a, b)[0],
        paired=True, vectorized=False, method="percentile", n_resamples=1000, random_state=3,
    ).confidence_interval  # fmt: skip
    found = result(one).srocc_interval
    assert found == pytest.approx((expected.low, expected.high), abs=0.15 * (expected.high - expected.low))


def test_the_interval_has_the_median_in_it_and_is_always_the_same() -> None:
    several = frame(1.0, seed=1)
    srocc = [scipy.stats.spearmanr(of["prediction"], of["score"])[0] for _, of in several.groupby("split")]
    found = result(several).srocc_interval
    assert found is not None and found[0] < np.median(srocc) < found[1]
    assert result(several).srocc_interval == found
    for none in (several.iloc[:0], several[several["split"] == 0].assign(reference="a.png")):
        assert result(none).srocc_interval is None


def test_copies_of_images_do_not_narrow_the_interval() -> None:
    """The images of a reference are drawn together: ten copies of each say no more than one."""
    one = frame(1.0, seed=1)
    copies = pd.concat([one.assign(row=10 * one["row"] + i, reference="of " + one["image"]) for i in range(10)])
    copies = copies.sort_values(["split", "row"], ignore_index=True)
    found, expected = result(copies).srocc_interval, result(one).srocc_interval
    assert expected is not None
    assert found == pytest.approx(expected, abs=0.1 * (expected[1] - expected[0]))


def test_splits_of_few_images_do_not_pull_the_interval_to_zero() -> None:
    """A draw without any image of a split says nothing about it."""
    truth = np.arange(30.0)
    small = pd.DataFrame({"split": np.repeat(np.arange(10), 3), "row": truth.astype(int), "reference": ""})
    found = result(small.assign(image="a.png", prediction=truth, score=truth)).srocc_interval
    assert found == pytest.approx((1, 1))


def test_the_interval_of_a_share_is_that_of_scipy_with_references_of_several_sizes() -> None:
    references = np.repeat(np.arange(8), (2, 5, 9, 4, 30, 7, 12, 20))
    rng = np.random.default_rng(0)
    true = rng.random(len(references)) < rng.uniform(size=8)[references]
    sizes, hits = np.bincount(references), np.bincount(references, true)
    expected = scipy.stats.bootstrap(
        (hits, sizes), lambda a, b, axis: a.sum(axis) / b.sum(axis),
        paired=True, method="percentile", n_resamples=9999, random_state=0,
    ).confidence_interval  # fmt: skip
    assert share_interval(true, references) == pytest.approx((expected.low, expected.high), abs=0.02)
    assert np.isnan(share_interval(true, np.zeros_like(references))).all()
