"""The comparison of experiments: paired over splits, with intervals from resampled images."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from models.errors import UserError
from models.experiment import Experiment
from utils.evaluation.comparison import bootstrap, compare, read_tested, score_kinds, table
from utils.evaluation.protocol import METRICS, DatasetResult
from utils.evaluation.results import Results, write_results

SPLITS, IMAGES, TESTED = 4, 60, 24


def frame(noise: float, seed: int = 0, splits: int = SPLITS) -> pd.DataFrame:
    """Predictions of overlapping test sets; the splits and scores are always the same."""
    rng = np.random.default_rng(5)
    truth = rng.uniform(1, 5, IMAGES)
    rows = [np.sort(rng.permutation(IMAGES)[:TESTED]) for _ in range(splits)]
    errors = np.random.default_rng(seed).normal(0, noise, (splits, TESTED))
    parts = [
        {"split": split, "row": of, "image": [f"{i}.png" for i in of], "prediction": truth[of] + e, "score": truth[of]}
        for split, (of, e) in enumerate(zip(rows, errors, strict=True))
    ]
    return pd.concat([pd.DataFrame(part) for part in parts], ignore_index=True).assign(reference="")


def with_results(folder: Path, name: str, **datasets: pd.DataFrame) -> Experiment:
    """An experiment with the results of a test."""
    nothing = {metric: np.zeros(1) for metric in METRICS}
    results = [
        DatasetResult(dataset, 0.1, fraction, None, {"global": nothing}, [], tested=of)
        for dataset, of in datasets.items()
        for fraction in (0.5, 1.0)
    ]
    for result in results:
        result.srocc_interval = None  # of one experiment; it takes seconds
    for result in results[::2]:
        result.tested = result.tested.assign(prediction=0.0)  # of half the training images: not compared
    experiment = Experiment(folder / name, name)
    write_results(Results(results, "0"), experiment)
    return experiment


def test_predictions_are_read_back_exactly(tmp_path: Path) -> None:
    written = frame(0.5)
    written.loc[0, "image"] = "=1.png"
    read = read_tested(with_results(tmp_path, "a", live=written))["live"]
    for column in ("split", "row", "prediction", "score"):
        np.testing.assert_array_equal(read[column], written[column])
    assert (tmp_path / "a" / "predictions.csv").read_text(encoding="utf-8").count(",'=1.png,") == 2


def test_the_interval_is_that_of_scipy() -> None:
    first, second = frame(0.6, 1), frame(1.2, 2)
    images = np.unique(first["row"])
    places = [dict(zip(of["row"], of.index, strict=True)) for _, of in first.groupby("split")]
    one, two = ({column: f[column].to_numpy() for column in ("prediction", "score")} for f in (first, second))

    def statistic(drawn: np.ndarray) -> float:
        """The mean over splits of the difference, of the split's images as often as they were drawn."""
        differences = []
        for place in places:
            chosen = [place[row] for row in drawn if row in place]
            a, b = (scipy.stats.spearmanr(f["prediction"][chosen], f["score"][chosen])[0] for f in (one, two))
            differences.append(b - a)
        return float(np.mean(differences))

    options = {"vectorized": False, "method": "percentile", "n_resamples": 800, "random_state": 3}
    expected = scipy.stats.bootstrap((images,), statistic, **options).confidence_interval
    low, high = bootstrap([first, second], "srocc", seed=7, resamples=800)[0]
    width = expected.high - expected.low
    assert low == pytest.approx(expected.low, abs=0.15 * width)
    assert high == pytest.approx(expected.high, abs=0.15 * width)
    assert low < statistic(images) < high < 0
    again, other = (bootstrap([first, second], "srocc", seed=seed, resamples=50) for seed in (7, 8))
    np.testing.assert_array_equal(again, bootstrap([first, second], "srocc", seed=7, resamples=50))
    assert (again != other).any()


def test_the_table_is_paired_over_splits(tmp_path: Path) -> None:
    frames = {"a": frame(0.5, 1), "b": frame(1.0, 2), "c": frame(0.5, 3)}
    experiments = [with_results(tmp_path, name, live=of, csiq=frame(0.3, 9)) for name, of in frames.items()]
    found, left_out = compare(experiments, seed=0, resamples=50)
    assert left_out == [] and set(found["dataset"]) == {"live", "csiq"}
    of = found[(found["dataset"] == "live") & (found["metric"] == "srocc")].set_index("experiment")
    srocc = {
        name: np.array([scipy.stats.spearmanr(g["prediction"], g["score"])[0] for _, g in f.groupby("split")])
        for name, f in frames.items()
    }
    for name, values in srocc.items():
        assert of.loc[name, "median"] == pytest.approx(np.median(values))
        assert of.loc[name, "mean"] == pytest.approx(values.mean())
        assert of.loc[name, "std"] == pytest.approx(values.std())
    assert of.loc["b", "difference"] == pytest.approx((srocc["b"] - srocc["a"]).mean())
    assert of.loc["b", "difference_std"] == pytest.approx((srocc["b"] - srocc["a"]).std())
    assert of.loc["b", "low"] < of.loc["b", "difference"] < of.loc["b", "high"]
    assert of.loc["a", ["difference", "low", "high"]].isna().all()
    medians = [np.median(values) for values in srocc.values()]
    assert of.loc["all 3", "mean"] == pytest.approx(np.mean(medians))
    assert of.loc["all 3", "std"] == pytest.approx(np.std(medians, ddof=1))
    same = found[(found["dataset"] == "csiq") & (found["experiment"] == "b")]
    assert (same[["difference", "low", "high"]] == 0).all().all()
    assert "nan" not in table(found).lower() and "all 3" in table(found)


def test_the_interval_of_one_reference_is_not_known(tmp_path: Path) -> None:
    experiments = [with_results(tmp_path, n, live=frame(0.5, i).assign(reference="a")) for i, n in enumerate("ab")]
    found, _ = compare(experiments, seed=0, resamples=50)
    second = found[found["experiment"] == "b"]
    assert second[["low", "high"]].isna().all().all() and second["difference"].notna().all()


def test_what_cannot_be_compared_is_one_line(tmp_path: Path) -> None:
    a = with_results(tmp_path, "a", live=frame(0.5), csiq=frame(0.5))
    fewer = with_results(tmp_path, "fewer", live=frame(0.5, splits=2))
    moved = frame(0.5)
    moved["row"] = (moved["row"] + 1) % IMAGES
    other = with_results(tmp_path, "other", live=moved)
    rescored = with_results(tmp_path, "rescored", live=frame(0.5).assign(score=lambda f: f["score"] + 1))
    refitted = with_results(tmp_path, "refitted", live=frame(0.5))  # the same test images, other training images
    content = refitted.results("json").read_text(encoding="utf-8").replace('"splits_hash": ""', '"splits_hash": "b"')
    refitted.results("json").write_text(content, encoding="utf-8")
    without = Experiment(tmp_path / "without", "without")
    untested = with_results(tmp_path, "untested", live=frame(0.5))
    untested.results("json").unlink()
    broken = with_results(tmp_path, "broken", live=frame(0.5))
    broken.predictions.write_text("a,b\n1,2\n", encoding="utf-8")
    alone = with_results(tmp_path, "alone", kadid10k=frame(0.5))
    old = with_results(tmp_path, "old", live=frame(0.5))
    content = old.results("json").read_text(encoding="utf-8").replace("score_kind", "kind")
    old.results("json").write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=r"old.results\.json: not as test\.py writes it now .*run the test again"):
        score_kinds(old, ["live"])
    killed = with_results(tmp_path, "killed", live=frame(0.5))  # between the two files
    content = killed.results("json").read_text(encoding="utf-8").replace('"dataset": "live"', '"dataset": "tid2013"')
    killed.results("json").write_text(content, encoding="utf-8")
    for second, message in (
        (killed, r"killed.results\.json: not as test\.py writes it now \(lacks 'live'\); run the test again"),
        (untested, r"untested.results\.json: not found; test the experiment"),
        (fewer, "fewer.*live was tested on other splits or scores than in .*a"),
        (other, "other.*live was tested on other splits or scores than in .*a"),
        (rescored, "rescored.*live was tested on other splits or scores than in .*a"),
        (refitted, "refitted.*live was tested on other splits or scores than in .*a"),
        (without, r"without.predictions\.csv: not found; test the experiment \(test\.py\)"),
        (broken, r"broken.predictions\.csv: not as test\.py writes it"),
        (alone, "no dataset .* in all of them"),
    ):
        with pytest.raises(UserError, match=message) as error:
            compare([a, second], seed=0, resamples=2)
        assert "\n" not in str(error.value)
    found, left_out = compare([a, with_results(tmp_path, "b", live=frame(0.6))], seed=0, resamples=2)
    assert set(found["dataset"]) == {"live"} and left_out == ["csiq"]
