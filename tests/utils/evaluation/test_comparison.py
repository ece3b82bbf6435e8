"""The comparison of experiments: paired over splits, with intervals from resampled images."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from models.errors import UserError
from models.experiment import Experiment
from utils.evaluation.comparison import bootstrap, compare, read_tested
from utils.evaluation.protocol import METRICS, DatasetResult
from utils.evaluation.results import Results, as_text, write_results

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
    assert (tmp_path / "a" / "predictions.csv").read_text(encoding="utf-8").count(",./=1.png,") == 2


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
    found, notes = compare(experiments, seed=0, resamples=50)
    assert notes == ["live: scores of unstated origin", "csiq: scores of unstated origin"]
    assert set(found["dataset"]) == {"live", "csiq"}
    of = found[(found["dataset"] == "live") & (found["metric"] == "srocc")].set_index("experiment")
    srocc = {
        name: np.array([scipy.stats.spearmanr(g["prediction"], g["score"])[0] for _, g in f.groupby("split")])
        for name, f in frames.items()
    }
    for name, values in srocc.items():
        expected = [np.median(values), values.mean(), values.std()]
        assert of.loc[name, ["median", "mean", "std"]].tolist() == pytest.approx(expected)
    difference = srocc["b"] - srocc["a"]
    expected = [difference.mean(), difference.std()]
    assert of.loc["b", ["difference", "difference_std"]].tolist() == pytest.approx(expected)
    assert of.loc["b", "low"] < of.loc["b", "difference"] < of.loc["b", "high"]
    assert of.loc["a", ["difference", "difference_std", "low", "high"]].isna().all()
    medians = [np.median(values) for values in srocc.values()]
    assert of.loc["all 3", "mean"] == pytest.approx(np.mean(medians))
    assert of.loc["all 3", "std"] == pytest.approx(np.std(medians, ddof=1))
    same = found[(found["dataset"] == "csiq") & (found["experiment"] == "b")]
    assert (same[["difference", "low", "high"]] == 0).all().all()
    assert "nan" not in as_text(found).lower() and "all 3" in as_text(found)


def test_the_interval_of_one_reference_is_not_known(tmp_path: Path) -> None:
    experiments = [with_results(tmp_path, n, live=frame(0.5, i).assign(reference="a")) for i, n in enumerate("ab")]
    found, _ = compare(experiments, seed=0, resamples=50)
    second = found[found["experiment"] == "b"]
    assert second[["low", "high"]].isna().all().all() and second["difference"].notna().all()


def replaced(path: Path, old: str, new: str) -> None:
    content = path.read_text(encoding="utf-8")
    assert old in content
    path.write_text(content.replace(old, new), encoding="utf-8")


OTHER = r"second.*live was tested on other splits or scores than in .*first"
OLDER = r"second.predictions\.csv: not as test\.py writes it .its columns are .*; test the experiment again"


@pytest.mark.parametrize(
    ("tested", "change", "message"),
    [
        ({"live": frame(0.5, splits=2)}, None, OTHER),
        ({"live": frame(0.5).assign(row=lambda f: (f["row"] + 1) % IMAGES)}, None, OTHER),
        ({"live": frame(0.5).assign(score=lambda f: f["score"] + 1)}, None, OTHER),
        ({"live": frame(0.5)}, (",,unstated,", ",b,unstated,"), OTHER),  # other training images
        ({"live": frame(0.5)}, ("score_kind,", "kind,"), OLDER),
        ({"kadid10k": frame(0.5)}, None, "first, second: no dataset was tested in all of them"),
    ],
)
def test_other_tests_cannot_be_compared(
    tmp_path: Path, tested: dict[str, pd.DataFrame], change: tuple[str, str] | None, message: str
) -> None:
    second = with_results(tmp_path, "second", **tested)
    if change:
        replaced(second.predictions, *change)
    with pytest.raises(UserError, match=message) as error:
        compare([with_results(tmp_path, "first", live=frame(0.5), csiq=frame(0.5)), second], seed=0, resamples=2)
    assert "\n" not in str(error.value)


def test_missing_and_foreign_files_are_named(tmp_path: Path) -> None:
    first, second = (with_results(tmp_path, name, live=frame(0.5)) for name in ("first", "second"))
    second.predictions.write_text("a,b\n1,2\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"second.predictions\.csv: not as test\.py writes it .its columns are a, b"):
        compare([first, second], seed=0)
    with pytest.raises(UserError, match=r"without.predictions\.csv: cannot be read .*; test the experiment again"):
        compare([first, Experiment(tmp_path / "without", "without")], seed=0)


def test_a_dataset_of_one_experiment_is_left_out(tmp_path: Path) -> None:
    first = with_results(tmp_path, "a", live=frame(0.5), csiq=frame(0.5))
    found, notes = compare([first, with_results(tmp_path, "b", live=frame(0.6))], seed=0, resamples=2)
    assert set(found["dataset"]) == {"live"} and "csiq: left out, because" in notes[1]
