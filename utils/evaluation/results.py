"""The results of a test: tables on the screen, and results.csv, results.json and results.xlsx."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, BinaryIO

import numpy as np
import pandas as pd

from models.experiment import Experiment
from models.files import write_atomic, write_text
from utils.evaluation.protocol import GLOBAL, METRICS, TESTED, DatasetResult, averages
from utils.evaluation.published import PUBLISHED, PUBLISHED_CROSS, PUBLISHED_FULL_REFERENCE, PUBLISHED_VALIDATION
from utils.evaluation.score_file import FORMULA
from utils.runtime.environment import run_environment

PUBLISHED_COLUMNS = ("published_srocc", "published_plcc", "published_krocc")
INTERVAL = ("srocc_low", "srocc_high")
SCORE_KINDS = {
    "human": "human scores",
    "pseudo": "pseudo-scores, computed by a measure and not human",
    "unstated": "scores of unstated origin",
}
NOT_SHOWN = ["splits_hash", "krocc_std", "rmse_std", "mae_std"]  # columns of the files that a person need not see


@dataclass(frozen=True)
class CrossResult:
    """Correlations of one dataset's regressor on all images of another; a DMOS is negated before.

    A published result may have no PLCC.
    """

    fitted_on: str
    tested_on: str
    srocc: float
    plcc: float | None


@dataclass
class Results:
    """What a test found.

    Attributes:
        datasets: a result per dataset and training fraction.
        cross: correlations across datasets.
        failures: dataset -> one line that says why it has no result.
        separability: dataset -> "trained" or "untrained" -> figures of `manifold.separability`.
        config: the configuration that the test was run with.
        encoder_hash: identifies the encoder's weights.
        checkpoint: name of the file that they are from; empty for the released ones.
        untrained: dataset -> result of the same encoder before its first step, if that was asked for.
        published: whether the encoder is the released one, so that published figures are shown beside ours.
        full_reference: whether the regressor saw the distances to the features of the reference images. Then the
            published figures are those of other encoders, and are shown for every encoder.
    """

    datasets: list[DatasetResult]
    encoder_hash: str
    checkpoint: str = ""
    untrained: dict[str, DatasetResult] = field(default_factory=dict)
    published: bool = False
    full_reference: bool = False
    cross: list[CrossResult] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)
    separability: dict[str, dict[str, dict[str, float]]] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)

    def whole(self) -> dict[str, DatasetResult]:
        """The results of fits on whole training splits, by dataset; only these enter the averages."""
        return {r.dataset: r for r in self.datasets if r.train_fraction == 1}

    def published_cross(self) -> list[CrossResult]:
        """The published results for the pairs in `cross`, if this is a test that they may be compared with."""
        pairs = [(c.fitted_on, c.tested_on) for c in self.cross if self.published and not self.full_reference]
        return [CrossResult(*pair, *PUBLISHED_CROSS[pair]) for pair in pairs if pair in PUBLISHED_CROSS]


def summary_table(results: Results) -> pd.DataFrame:
    """A row per dataset, training fraction and group (global, distortion types), then the averages.

    Columns: dataset, train_fraction, group, splits (how many), images (of the first split), splits_kind, splits_hash,
    alpha, for each metric its median and standard deviation over two or more splits; in global rows srocc_low and
    srocc_high, the 95 % confidence interval of that median (`DatasetResult.srocc_interval`); for the released
    encoder the published SROCC, PLCC and, where one is published, KROCC, for full reference the published SROCC of
    others; and, if asked for, the SROCC and PLCC of the untrained encoder. A missing figure is None.
    """
    rows: list[dict[str, Any]] = []
    for r in results.datasets:
        for group, scores in r.scores.items():
            frame = pd.DataFrame(scores).dropna()
            row = {
                "dataset": r.dataset,
                "train_fraction": r.train_fraction,
                "group": group,
                "splits": len(frame),
                "images": r.count(group),
                "splits_kind": r.splits_kind,
                "splits_hash": r.splits_hash,
                "alpha": r.alpha,
            }
            for metric in METRICS:
                spread = float(frame[metric].std(ddof=0)) if len(frame) > 1 else None
                row |= {metric: r.median(metric, group), f"{metric}_std": spread}
            if group == GLOBAL and r.srocc_interval is not None:
                row |= dict(zip(INTERVAL, r.srocc_interval, strict=True))
            whole = group == GLOBAL and r.train_fraction == 1
            if whole and results.full_reference:
                row |= {f"{name}_srocc": of.get(r.dataset) for name, of in PUBLISHED_FULL_REFERENCE.items()}
            elif whole and results.published and r.dataset in PUBLISHED:
                row |= dict(zip(PUBLISHED_COLUMNS, PUBLISHED[r.dataset], strict=False))
            before = results.untrained.get(r.dataset)
            if before is not None and group in before.scores and r.train_fraction == 1:
                row |= {f"untrained_{metric}": before.median(metric, group) for metric in ("srocc", "plcc")}
            rows.append(row)
    fits = results.whole()
    medians = {n: {m: r.median(m) for m in ("srocc", "plcc", "krocc")} for n, r in fits.items()}
    for group, mean in averages(medians, [n for n, r in fits.items() if r.synthetic]).items():
        rows.append({"dataset": f"average {group}", "train_fraction": 1.0, "group": GLOBAL, **mean})
    columns = ["dataset", "train_fraction", "group", "splits", "images", "splits_kind", "splits_hash", "alpha", "srocc"]
    columns += [*INTERVAL, "srocc_std", *(column for m in METRICS[1:] for column in (m, f"{m}_std"))]
    if results.full_reference:
        columns += [f"{name}_srocc" for name in PUBLISHED_FULL_REFERENCE]
    elif results.published:
        columns += [c for c in PUBLISHED_COLUMNS if c != "published_krocc" or any(c in row for row in rows)]
    columns += ["untrained_srocc", "untrained_plcc"] if results.untrained else []
    table = pd.DataFrame(rows, columns=columns)
    return table.astype(object).where(table.notna(), None)


def split_table(result: DatasetResult) -> pd.DataFrame:
    """A row per split and group of one result, with its metrics; rows without values are left out."""
    rows = [
        {"train_fraction": result.train_fraction, "alpha": result.alpha, "split": split, "group": group}
        | {metric: float(scores[metric][split]) for metric in METRICS}
        for group, scores in result.scores.items()
        for split in range(len(scores[METRICS[0]]))
        if scores[METRICS[0]][split] == scores[METRICS[0]][split]
    ]
    return pd.DataFrame(rows)


def cross_table(cross: Sequence[CrossResult], metric: str) -> pd.DataFrame:
    """One metric across datasets: fitted on the row, tested on the column; None where there is no result."""
    table = pd.DataFrame([asdict(c) for c in cross])
    matrix = table.pivot(index="fitted_on", columns="tested_on", values=metric)
    return matrix.astype(object).where(matrix.notna(), None)


def separability_table(separability: Mapping[str, Mapping[str, Mapping[str, float | None]]]) -> pd.DataFrame:
    """A row per dataset and encoder and one for chance, from `Results.separability` or the same part of results.json.

    The accuracies are in percent, with their 95 % confidence intervals, see `separability`.
    """
    rows: list[dict[str, Any]] = []
    for dataset, of in separability.items():
        for encoder, found in of.items():
            row = {"dataset": dataset, "encoder": encoder, "images": found["images"]}
            for name in ("type", "level"):
                figures = [found[f"{name}_{key}"] for key in ("accuracy", "low", "high")]
                known = [100 * value for value in figures if value is not None and value == value]
                row[f"same {name}"] = "{:.1f} % [{:.1f}, {:.1f}]".format(*known) if len(known) == 3 else None
            rows.append({**row, "silhouette": found["silhouette"]})
        chance = {f"same {name}": f"{100 * (found[f'{name}_chance'] or 0):.1f} %" for name in ("type", "level")}
        rows.append({"dataset": dataset, "encoder": "chance", "images": found["images"], **chance, "silhouette": None})
    return pd.DataFrame(rows)


def results_as_text(results: Results) -> str:
    """The tables and notes as text."""
    table = summary_table(results)
    total = table[table["group"] == GLOBAL].drop(columns=NOT_SHOWN).drop(columns="group")
    parts = [
        "Median over the splits (std: standard deviation over them; low, high: its 95 % confidence interval, from "
        "images drawn anew, those of a reference together; images: of the first split)",
        as_text(total.rename(columns={"train_fraction": "fraction"})),
    ]
    if not results.datasets:
        parts = ["No dataset has a result"]
    if results.full_reference:
        parts[0] += f"; full reference; {' and '.join(PUBLISHED_FULL_REFERENCE)}: published figures of others"
    elif results.published:
        parts[0] += "; published_* are the authors' figures, on the published splits (of uhdiqa the official one)"
    if results.untrained:
        parts[0] += "; untrained_*: the same encoder before its first step"
    parts += [f"{name}: {SCORE_KINDS[r.score_kind]}" for name, r in {r.dataset: r for r in results.datasets}.items()]
    for r in results.datasets:
        types = table[
            (table["dataset"] == r.dataset) & (table["train_fraction"] == r.train_fraction) & (table["group"] != GLOBAL)
        ]
        if len(types):
            fraction = "" if r.train_fraction == 1 else f", training fraction {r.train_fraction:g}"
            parts += [
                f"\n{r.dataset}{fraction}, by type of distortion",
                as_text(types[["group", "splits", "images", *METRICS]]),
            ]
    if results.cross:
        for metric in ("srocc", "plcc"):
            what = f"ross-dataset {metric.upper()}: fitted on the row, tested on the column"
            parts += [f"\nC{what}", as_text(cross_table(results.cross, metric), index=True)]
            published = [c for c in results.published_cross() if getattr(c, metric) is not None]
            if published:
                parts += [f"\nPublished c{what}", as_text(cross_table(published, metric), index=True)]
    if results.published and not results.full_reference:
        parts += [_validation_line(r) for r in results.whole().values() if r.dataset in PUBLISHED_VALIDATION]
    notes = dict.fromkeys(f"{r.dataset}: {note}" for r in results.datasets for note in r.notes)
    if notes:
        parts += ["\nNotes", *notes]
    if results.failures:
        parts += [
            "\nWithout a result, and not in the averages",
            *(f"{name}: {line}" for name, line in results.failures.items()),
        ]
    if results.separability:
        parts = [
            "What the contrastive loss asks for: the nearest neighbour, among images of other references, has the same "
            "type or level of distortion [95 % confidence interval, from references drawn anew]",
            as_text(separability_table(results.separability)),
            "",
            *parts,
        ]
    return "\n".join(parts)


def write_results(results: Results, experiment: Experiment) -> None:
    """Writes results.csv (the summary), results.json, results.xlsx (a sheet per dataset) and predictions.csv.

    In the CSV files a name that a spreadsheet would run as a formula has an apostrophe before it.

    Raises:
        UserError: a file cannot be written.
    """
    summary = summary_table(results)
    names = {column: summary[column].map(_no_formula) for column in ("dataset", "group")}
    write_text(experiment.results("csv"), summary.assign(**names).to_csv(index=False, lineterminator="\n"))
    tested = [r.tested.assign(dataset=r.dataset, train_fraction=r.train_fraction) for r in results.datasets]
    table = pd.concat(tested, ignore_index=True).reindex(columns=["dataset", "train_fraction", *TESTED])
    safe = {column: table[column].map(_no_formula) for column in ("dataset", "image", "reference")}
    write_text(experiment.predictions, table.assign(**safe).to_csv(index=False, lineterminator="\n"))
    text = json.dumps(_as_json(results, summary), indent=2, allow_nan=False, ensure_ascii=False)
    write_text(experiment.results("json"), text + "\n")
    write_atomic(experiment.results("xlsx"), lambda file: _write_workbook(results, summary, file))


def _write_workbook(results: Results, summary: pd.DataFrame, file: BinaryIO) -> None:
    with pd.ExcelWriter(file, engine="openpyxl") as book:
        summary.to_excel(book, sheet_name="summary", index=False)
        for i, name in enumerate(dict.fromkeys(r.dataset for r in results.datasets)):
            sheets = [split_table(r) for r in results.datasets if r.dataset == name]
            pd.concat(sheets).to_excel(book, sheet_name=_sheet_name(name, i), index=False)
        if results.cross:
            pd.DataFrame([asdict(c) for c in results.cross]).to_excel(book, sheet_name="cross-dataset", index=False)
        for cell in (cell for sheet in book.book for row in sheet.iter_rows() for cell in row):
            if isinstance(cell.value, str):
                cell.data_type = "s"  # openpyxl takes a name such as =A1 for a formula


def _as_json(results: Results, summary: pd.DataFrame) -> dict[str, Any]:
    datasets = [
        {
            "dataset": r.dataset,
            "train_fraction": r.train_fraction,
            "alpha": r.alpha,
            "scores": {
                group: {metric: [_none_if_nan(v) for v in values.tolist()] for metric, values in scores.items()}
                for group, scores in r.scores.items()
            },
            "validation_srocc": r.grid.tolist() if r.grid is not None else None,
            "splits_kind": r.splits_kind,
            "splits_hash": r.splits_hash,
            "score_kind": r.score_kind,
            "predictions": [asdict(p) for p in r.predictions],
            "best": [asdict(p) for p in r.best()],
            "worst": [asdict(p) for p in r.worst()],
            "notes": r.notes,
        }
        for r in results.datasets
    ]
    return {
        "encoder_hash": results.encoder_hash,
        "checkpoint": results.checkpoint,
        "summary": summary.to_dict("records"),
        "datasets": datasets,
        "cross_dataset": [asdict(c) for c in results.cross],
        "published_cross_dataset": [asdict(c) for c in results.published_cross()],
        "failures": results.failures,
        "published": results.published,
        "full_reference": results.full_reference,
        "separability": {
            dataset: {encoder: {key: _none_if_nan(v) for key, v in figures.items()} for encoder, figures in of.items()}
            for dataset, of in results.separability.items()
        },
        "config": results.config,
        "environment": run_environment(),
    }


def _validation_line(result: DatasetResult) -> str:
    published = "/".join(f"{figure:.3f}" for figure in PUBLISHED_VALIDATION[result.dataset])
    ours = f"; here SROCC {np.median(result.grid, axis=0).max():.3f}" if result.grid is not None else ""
    return f"published: {result.dataset}, validation images {published} (SROCC/PLCC/KROCC){ours}"


def _no_formula(name: str) -> str:
    return f"'{name}" if name.startswith(FORMULA) else name


def _none_if_nan(value: float) -> float | None:
    return value if value == value else None


def _sheet_name(dataset: str, number: int) -> str:
    """A name that Excel allows: at most 31 characters, none of []:*?/\\, and unlike the other sheets' names."""
    name = re.sub(r"[\[\]:*?/\\]", "_", dataset)
    reserved = name.casefold() in ("summary", "cross-dataset", "history")
    return name if len(name) <= 31 and name == dataset and not reserved else f"{number + 1} {name}"[:31]


def as_text(table: pd.DataFrame, index: bool = False) -> str:
    """A table as text; None and NaN are a dash. Correlations have three decimals."""
    shown = table.map(lambda v: "-" if v is None or v != v else f"{v:.4g}" if isinstance(v, float) else str(v))
    for column in shown.columns:
        if column == column and str(column).split("_")[-1] in (*METRICS, "std", "low", "high"):
            shown[column] = [f"{v:.3f}" if isinstance(v, float) else "-" for v in table[column]]
    return shown.to_string(index=index)
