"""utils.evaluation.results: the content of the tables and files."""

import csv
import json
import multiprocessing
import os
import signal
import sys
import zipfile
from pathlib import Path

import numpy as np
import openpyxl
import pandas as pd
import pytest

from models.experiment import Experiment
from tests.utils.evaluation.test_comparison import frame
from utils.evaluation.protocol import DatasetResult, Prediction
from utils.evaluation.published import PUBLISHED_CROSS
from utils.evaluation.results import (
    CrossResult,
    Results,
    as_text,
    results_as_text,
    separability_table,
    summary_table,
    write_results,
)

SROCC = np.array([0.5, 0.9, 0.7])


def result(name: str, shift: float = 0.0, fraction: float = 1.0) -> DatasetResult:
    def scores(values: np.ndarray) -> dict[str, np.ndarray]:
        return {"srocc": values, "plcc": values + 0.01, "krocc": values - 0.2, "rmse": 10 * values, "mae": 8 * values}

    groups = {"global": scores(SROCC - shift), "jpeg": scores(np.array([np.nan, 0.2, 0.4]))}
    predictions = [Prediction(f"{i}.png", float(i), float(i) ** 2) for i in range(20)]
    note = "jpeg: fewer than 3 images in 1 of 3 splits, which are ignored"
    synthetic = name == "kadid10k"
    grid = np.array([[0.1, 0.5], [0.2, 0.7], [0.3, 0.6]])
    splits = {"splits_kind": "published" if synthetic else "own", "splits_hash": f"hash of {name}"}
    return DatasetResult(name, 0.1, fraction, grid, groups, predictions, [note], synthetic, **splits)


@pytest.fixture
def results() -> Results:
    return Results(
        [result("kadid10k"), result("kadid10k", 0.3, 0.1), result("spaq", 0.2)],
        encoder_hash="0123456789abcdef",
        cross=[CrossResult("kadid10k", "spaq", 0.31, 0.32), CrossResult("spaq", "kadid10k", 0.41, 0.42)],
        failures={"live": "LIVE: no such folder"},
    )


def row(table: pd.DataFrame, dataset: str, group: str = "global", fraction: float = 1.0) -> pd.Series:
    chosen = (table["dataset"] == dataset) & (table["group"] == group) & (table["train_fraction"] == fraction)
    assert chosen.sum() == 1
    return table[chosen].iloc[0]


def test_summary_has_medians_standard_deviations_and_averages(results: Results) -> None:
    table = summary_table(results)
    kadid = row(table, "kadid10k")
    assert kadid["srocc"] == pytest.approx(0.7)
    assert kadid["srocc_std"] == pytest.approx(np.std(SROCC))
    assert kadid["splits"] == 3
    assert row(table, "kadid10k", fraction=0.1)["srocc"] == pytest.approx(0.4)
    jpeg = row(table, "kadid10k", "jpeg")
    assert jpeg["splits"] == 2
    assert jpeg["srocc"] == pytest.approx(0.3)
    assert row(table, "average synthetic")["srocc"] == pytest.approx(0.7)
    assert row(table, "average authentic")["plcc"] == pytest.approx(0.51)
    assert row(table, "average all")["krocc"] == pytest.approx(0.4)
    assert row(table, "average all")["rmse"] is None  # units differ between datasets
    assert not table.isin([np.nan]).any().any() or table.map(lambda v: v is None or v == v).all().all()


def test_one_split_has_no_standard_deviation(results: Results) -> None:
    results.datasets = [result("spaq")]
    results.datasets[0].scores = {"global": {m: v[:1] for m, v in results.datasets[0].scores["global"].items()}}
    found = row(summary_table(results), "spaq")
    assert found["srocc"] == 0.5 and found["srocc_std"] is None


def test_published_results_are_shown_only_for_the_released_encoder(results: Results) -> None:
    assert "published_" not in results_as_text(results)
    assert "published_srocc" not in summary_table(results)
    results.published = True
    table = summary_table(results)
    assert row(table, "kadid10k")["published_srocc"] == 0.908
    assert row(table, "kadid10k", fraction=0.1)["published_srocc"] is None and "published_krocc" not in table
    assert (
        "the authors' figures, on the published splits"
        in results_as_text(results).split("Median over the splits")[1].splitlines()[0]
    )
    results.datasets.append(result("uhdiqa"))
    table = summary_table(results)
    found = row(table, "uhdiqa")
    assert [found[f"published_{metric}"] for metric in ("srocc", "plcc", "krocc")] == [0.739, 0.694, 0.544]
    assert row(table, "kadid10k")["published_krocc"] is None
    line = "published: uhdiqa, validation images 0.718/0.717/0.523 (SROCC/PLCC/KROCC); here SROCC 0.600"
    assert line in results_as_text(results)


def test_every_result_names_its_splits(results: Results, tmp_path: Path) -> None:
    expected = ("own", "hash of spaq")
    line = next(line for line in results_as_text(results).splitlines() if line.split()[:1] == ["spaq"])
    assert "own" in line.split()
    experiment = Experiment(tmp_path, "title")
    write_results(results, experiment)
    content = json.loads(experiment.results("json").read_text(encoding="utf-8"))
    assert [(r["splits_kind"], r["splits_hash"]) for r in content["datasets"] if r["dataset"] == "spaq"] == [expected]
    for table in (
        summary_table(results),
        pd.read_csv(experiment.results("csv")),
        pd.read_excel(experiment.results("xlsx")),
    ):
        assert tuple(row(table, "spaq")[["splits_kind", "splits_hash"]]) == expected


def test_the_summary_has_the_number_of_images_and_the_interval(results: Results, tmp_path: Path) -> None:
    found = results.datasets[0]
    found.tested = frame(0.5)
    found.predictions = [Prediction("a.png", 1, 1, "jpeg"), Prediction("b.png", 2, 2, "blur")]
    table = summary_table(results)
    of = row(table, found.dataset)
    assert of["images"] == 2 and (of["srocc_low"], of["srocc_high"]) == found.srocc_interval
    kinds = table[(table["dataset"] == found.dataset) & (table["group"] == "jpeg")].iloc[0]
    assert kinds["images"] == 1 and kinds["srocc_low"] is None


def test_published_cross_dataset_results_are_shown_beside_ours(results: Results) -> None:
    results.cross += [CrossResult("live", "csiq", 0.11, 0.12), CrossResult("koniq10k", "clive", 0.21, 0.22)]
    assert "0.904" not in results_as_text(results)
    results.published = True
    text = results_as_text(results)
    assert [line.split()[0] for line in text.splitlines() if "0.904" in line] == ["live"]
    assert "0.684" in text and "0.739" in text and "0.764" not in text  # live to kadid10k was not tested here
    results.full_reference = True
    assert "0.904" not in results_as_text(results)


def test_published_cross_dataset_figures_are_those_of_the_paper() -> None:
    """Its table: fitted on the row, tested on the column."""
    names = ["live", "csiq", "tid2013", "kadid10k"]
    rows = [[0.904, 0.697, 0.764], [0.921, 0.721, 0.735], [0.869, 0.866, 0.726], [0.898, 0.882, 0.760]]
    for i, (name, figures) in enumerate(zip(names, rows, strict=True)):
        others = names[:i] + names[i + 1 :]
        assert PUBLISHED_CROSS[name] == {other: (figure,) for other, figure in zip(others, figures, strict=True)}


def test_printed_text_has_notes_failures_and_kinds_of_scores_and_no_nan(results: Results) -> None:
    for kadid in results.datasets[:2]:
        kadid.score_kind = "pseudo"
    text = results_as_text(results)
    assert "live: LIVE: no such folder" in text and "jpeg: fewer than 3 images in 1 of 3 splits" in text
    assert "0.700" in text and "nan" not in text.lower()
    first, *_, last = text.split("\n\n")[0].splitlines()
    assert first.startswith("On kadid10k, the predictions order test images with SROCC 0.")
    assert "Scores: pseudo-scores, computed by a measure and not human; median of " in first
    assert last.startswith("On spaq, ") and "Scores: scores of unstated origin; " in last
    assert "LIVE: no such folder" in results_as_text(Results([], "0", failures=results.failures))


def test_separability_is_printed_with_chance(results: Results) -> None:
    figures = {"images": 420, "silhouette": -0.1, "type_accuracy": 0.312, "type_low": 0.27, "type_high": 0.358}
    figures |= {
        "level_accuracy": 0.4,
        "level_low": 0.354,
        "level_high": 0.448,
        "type_chance": 0.1,
        "level_chance": 1 / 3,
    }
    worse = {**figures, "type_accuracy": 0.19, "type_low": 0.155, "type_high": 0.23, "silhouette": float("nan")}
    results.separability = {"kadid10k": {"trained": figures, "untrained": worse}}
    lines = [" ".join(line.split()) for line in results_as_text(results).split("Nearest-neighbour")[1].splitlines()]
    assert lines[2:5] == [
        "kadid10k trained 420 31.2 % [27.0, 35.8] 40.0 % [35.4, 44.8] -0.100",
        "kadid10k untrained 420 19.0 % [15.5, 23.0] 40.0 % [35.4, 44.8] -",
        "kadid10k chance 420 10.0 % 33.3 % -",
    ]


@pytest.mark.parametrize("unknown", [None, float("nan")])  # in results.json, and before it is written
def test_a_share_that_is_not_known_is_a_dash(unknown: float | None) -> None:
    keys = [f"{name}_{key}" for name in ("type", "level") for key in ("accuracy", "low", "high")]
    figures = {"images": 9, "silhouette": 0.1, "type_chance": 0.1, "level_chance": 0.2, **dict.fromkeys(keys, unknown)}
    table = separability_table({"mine": {"trained": figures}})
    assert as_text(table).splitlines()[1].split() == ["mine", "trained", "9", "-", "-", "0.100"]


def test_all_files_have_the_same_values(results: Results, tmp_path: Path) -> None:
    write_results(results, Experiment(tmp_path / "new", "new"))
    folder = tmp_path / "new"
    read = pd.read_csv(folder / "results.csv")
    assert row(read, "kadid10k")["srocc"] == pytest.approx(0.7)
    content = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    assert content["datasets"][0]["scores"]["jpeg"]["srocc"] == [None, 0.2, 0.4]
    worst = {"image": "19.png", "prediction": 19.0, "score": 361.0, "type": None, "group": None}
    assert content["datasets"][0]["worst"][0] == worst
    best, worst = ([p["image"] for p in content["datasets"][0][key]] for key in ("best", "worst"))
    assert (len(best), len(worst)) == (10, 10) and not set(best) & set(worst)
    assert content["failures"] == {"live": "LIVE: no such folder"}
    sheets = pd.read_excel(folder / "results.xlsx", sheet_name=None)
    assert list(sheets) == ["summary", "splits", "cross-dataset"]
    splits = sheets["splits"].set_index(["dataset", "train_fraction", "group"]).sort_index()
    assert splits.loc[("kadid10k", 1.0, "global"), "srocc"].tolist() == SROCC.tolist()
    assert splits.loc[("kadid10k", 1.0, "jpeg"), "split"].tolist() == [1, 2]  # the first split has no value


def test_no_text_becomes_a_formula_in_a_spreadsheet(tmp_path: Path, results: Results) -> None:
    """The names of a user's dataset and of its types of distortion are any text."""
    found = result("=1+1")
    found.scores["@SUM(A1)"] = found.scores.pop("jpeg")
    results.datasets.append(found)
    results.cross.append(CrossResult("=1+1", "spaq", 0.1, 0.2))
    write_results(results, Experiment(tmp_path, "names"))
    book = openpyxl.load_workbook(tmp_path / "results.xlsx")
    cells = [cell for sheet in book for row in sheet.iter_rows() for cell in row]
    assert {cell.data_type for cell in cells if cell.value in ("=1+1", "@SUM(A1)")} == {"s"}
    assert not [cell for cell in cells if cell.data_type == "f"]
    with (tmp_path / "results.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {"./=1+1", "spaq"} < {row["dataset"] for row in rows} and "=1+1" not in {row["dataset"] for row in rows}
    assert {row["group"] for row in rows} == {"global", "jpeg", "./@SUM(A1)"}


@pytest.mark.skipif(sys.platform == "win32", reason="fork and SIGKILL")
@pytest.mark.parametrize("before", [True, False])
def test_a_kill_while_the_workbook_is_written_leaves_none_or_the_one_before(
    tmp_path: Path, results: Results, before: bool
) -> None:
    experiment = Experiment(tmp_path, "title")
    if before:
        write_results(results, experiment)

    def killed_half_way() -> None:
        zipfile.ZipFile.writestr = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)  # type: ignore[method-assign]
        write_results(results, experiment)

    process = multiprocessing.get_context("fork").Process(target=killed_half_way)
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    assert experiment.results("json").exists() and experiment.results("xlsx").exists() is before
    if before:
        assert len(pd.read_excel(experiment.results("xlsx"), sheet_name=None)) == 3
