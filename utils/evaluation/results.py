"""Results of a test: printed tables, results.csv, results.json, results.xlsx and predictions.csv."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, BinaryIO

import numpy as np
import pandas as pd

from models.experiment import Experiment
from models.files import write_atomic, write_text
from models.regressor import SCORE_KINDS
from utils.evaluation.protocol import GLOBAL, METRICS, TESTED, DatasetResult, averages
from utils.evaluation.published import PUBLISHED, PUBLISHED_CROSS, PUBLISHED_FULL_REFERENCE, PUBLISHED_VALIDATION
from utils.evaluation.score_file import without_formula
from utils.runtime.environment import run_environment

PUBLISHED_COLUMNS = ("published_srocc", "published_plcc", "published_krocc")
FORMATS = {"alpha": ".3g", "train_fraction": ".3g", "splits": ".0f", "images": ".0f"}  # other columns: three decimals
TEST = ["dataset", "train_fraction", "splits_hash", "score_kind"]  # columns of predictions.csv before `TESTED`
NOT_SHOWN = ["splits_hash", "krocc_std", "rmse_std", "mae_std"]  # columns of the files that tables leave out


@dataclass(frozen=True)
class CrossResult:
    """Correlations of one dataset's regressor on all images of another dataset, with a DMOS negated.

    A published result may have no PLCC.
    """

    fitted_on: str
    tested_on: str
    srocc: float
    plcc: float | None = None


@dataclass
class Results:
    """Results of a test.

    Attributes:
        datasets: result per dataset and training fraction.
        encoder_hash: hash of the encoder's weights.
        checkpoint: name of the weights file; empty for the released encoder.
        untrained: dataset -> result of the same encoder before its first step, if requested.
        published: whether the encoder is the released one, so that published results are shown.
        full_reference: whether the regressor was fitted on distances to the features of the reference images. The
            published results are then those of other encoders, and are shown for every encoder.
        cross: correlations across datasets.
        failures: dataset -> one-line error message.
        separability: dataset -> "trained" or "untrained" -> result of `manifold.separability`.
        config: configuration of the test.
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
        """Returns the results of fits on whole training splits, by dataset. The averages are over these."""
        return {r.dataset: r for r in self.datasets if r.train_fraction == 1}

    def published_cross(self) -> list[CrossResult]:
        """Returns the published results for the pairs in `cross`, if the test is comparable with them."""
        pairs = [(c.fitted_on, c.tested_on) for c in self.cross if self.published and not self.full_reference]
        figures = [(pair, PUBLISHED_CROSS.get(pair[0], {}).get(pair[1])) for pair in pairs]
        return [CrossResult(*pair, *published) for pair, published in figures if published]


def summary_table(results: Results) -> pd.DataFrame:
    """Returns a table with a row per dataset, training fraction and group (global, distortion types), then averages.

    The columns are:

    - dataset, train_fraction, group, splits (number), images (of the first split), splits_kind, splits_hash, alpha;
    - for each metric the median and the standard deviation over two or more splits;
    - in global rows srocc_low and srocc_high, the 95 % confidence interval of the median SROCC
      (`DatasetResult.srocc_interval`);
    - for the released encoder the published SROCC, PLCC and, if published, KROCC;
    - for full reference the published SROCC of other encoders;
    - if requested, the SROCC and PLCC of the untrained encoder.

    A missing value is None.
    """
    rows: list[dict[str, Any]] = [_summary_row(results, r, group) for r in results.datasets for group in r.scores]
    fits = results.whole()
    medians = {n: {m: r.median(m) for m in ("srocc", "plcc", "krocc")} for n, r in fits.items()}
    for group, mean in averages(medians, [n for n, r in fits.items() if r.synthetic]).items():
        rows.append({"dataset": f"average {group}", "train_fraction": 1.0, "group": GLOBAL, **mean})
    return _with_none(pd.DataFrame(rows))


def _summary_row(results: Results, result: DatasetResult, group: str) -> dict[str, Any]:
    """Returns a row of `summary_table`, with its keys in the order of the columns."""
    row = {"dataset": result.dataset, "train_fraction": result.train_fraction, "group": group}
    frame = pd.DataFrame(result.scores[group]).dropna()
    row |= {"splits": len(frame), "images": result.count(group)}
    row |= {key: getattr(result, key) for key in ("splits_kind", "splits_hash", "alpha")}
    interval = result.srocc_interval if group == GLOBAL else None
    for metric in METRICS:
        row[metric] = result.median(metric, group)
        if metric == "srocc":
            row["srocc_low"], row["srocc_high"] = interval or (None, None)
        row[f"{metric}_std"] = float(frame[metric].std(ddof=0)) if len(frame) > 1 else None
    if result.train_fraction < 1:
        return row
    if group == GLOBAL and results.full_reference:
        row |= {f"{name}_srocc": known.get(result.dataset) for name, known in PUBLISHED_FULL_REFERENCE.items()}
    elif group == GLOBAL and results.published:
        row |= dict(zip(PUBLISHED_COLUMNS, PUBLISHED.get(result.dataset, ()), strict=False))
    untrained = results.untrained.get(result.dataset)
    if untrained is not None and group in untrained.scores:
        row |= {f"untrained_{metric}": untrained.median(metric, group) for metric in ("srocc", "plcc")}
    return row


def split_table(results: Results) -> pd.DataFrame:
    """Returns a table of the metrics per dataset, training fraction, group and split, without empty rows."""
    tables = {
        (result.dataset, result.train_fraction, result.alpha, group): pd.DataFrame(scores).dropna()
        for result in results.datasets
        for group, scores in result.scores.items()
    }
    return pd.concat(tables, names=["dataset", "train_fraction", "alpha", "group", "split"]).reset_index()


def cross_table(cross: Sequence[CrossResult], metric: str) -> pd.DataFrame:
    """Returns a table of one metric across datasets: fitted on the row, tested on the column; None without a result."""
    table = pd.DataFrame([asdict(c) for c in cross])
    return _with_none(table.pivot(index="fitted_on", columns="tested_on", values=metric))


def separability_table(separability: Mapping[str, Mapping[str, Mapping[str, float | None]]]) -> pd.DataFrame:
    """Returns a table with a row per dataset and encoder, and one for chance.

    The input is `Results.separability` or the same part of results.json. The accuracies are in percent, with their
    95 % confidence intervals, see `separability`.
    """
    rows: list[dict[str, Any]] = []
    for dataset, encoders in separability.items():
        for encoder, figures in encoders.items():
            row = {"dataset": dataset, "encoder": encoder, "images": figures["images"]}
            for name in ("type", "level"):
                values = [figures[f"{name}_{key}"] for key in ("accuracy", "low", "high")]
                known = [100 * value for value in values if value is not None and value == value]
                row[f"same {name}"] = "{:.1f} % [{:.1f}, {:.1f}]".format(*known) if len(known) == 3 else None
            rows.append({**row, "silhouette": figures["silhouette"]})
        chance = {f"same {name}": f"{100 * (figures[f'{name}_chance'] or 0):.1f} %" for name in ("type", "level")}
        rows.append({"dataset": dataset, "encoder": "chance", "images": figures["images"], **chance})
    return pd.DataFrame(rows)


def outcome(row: Mapping[Any, Any], score_kind: str) -> str:
    """Summarises the result of one dataset in a sentence, from its global row of `summary_table`."""
    text = f"On {row['dataset']}, the predictions order test images with SROCC {row['srocc']:.2f}"
    if row["srocc_low"] is not None:
        text += f" [{row['srocc_low']:.2f}, {row['srocc_high']:.2f}]"
    for name, column in (("before training", "untrained_srocc"), ("published", "published_srocc")):
        if row.get(column) is not None:
            text += f"; {name} {row[column]:.2f}"
    images, splits = int(row["images"]), int(row["splits"])  # JSON may have them as floats
    text += " (1: perfect order, 0: none). "
    if row["train_fraction"] != 1:
        text += f"Fitted on {row['train_fraction']:g} of the training images. "
    count = f"median of {splits} splits, {images} test images in the first" if splits > 1 else f"{images} test images"
    return f"{text}Scores: {SCORE_KINDS[score_kind]}; {count}."


def results_as_text(results: Results) -> str:
    """Formats the tables and notes as text."""
    parts = _summary_as_text(results) if results.datasets else ["No dataset has a result"]
    if results.separability:
        parts += [
            "\nNearest-neighbour accuracy across references: the nearest neighbour among images of other references "
            "has the same type or level of distortion [95 % confidence interval]",
            as_text(separability_table(results.separability)),
        ]
    for metric in ("srocc", "plcc"):
        for title, cross in (("Cross-dataset", results.cross), ("Published cross-dataset", results.published_cross())):
            if any(getattr(c, metric) is not None for c in cross):
                parts.append(f"\n{title} {metric.upper()}: fitted on the row, tested on the column")
                parts.append(as_text(cross_table(cross, metric), index=True))
    if results.published and not results.full_reference:
        parts += [_validation_line(r) for r in results.whole().values() if r.dataset in PUBLISHED_VALIDATION]
    notes = dict.fromkeys(f"{r.dataset}: {note}" for r in results.datasets for note in r.notes)
    failures = [f"{name}: {line}" for name, line in results.failures.items()]
    for title, lines in (("Notes", notes), ("Without a result, and not in the averages", failures)):
        parts += [f"\n{title}", *lines] if lines else []
    return "\n".join(parts)


def _summary_as_text(results: Results) -> list[str]:
    """Formats the summary, the kinds of the scores, and each dataset's table of distortion types."""
    heading = (
        "Median over the splits (std: standard deviation; low, high: 95 % confidence interval from 1,000 bootstrap "
        "resamples, clustered by reference; images: of the first split)"
    )
    if results.full_reference:
        heading += f"; full reference; {' and '.join(PUBLISHED_FULL_REFERENCE)}: published figures of others"
    elif results.published:
        heading += "; published_* are the authors' figures, on the published splits (of uhdiqa the official one)"
    if results.untrained:
        heading += "; untrained_*: the same encoder before its first step"
    summary = summary_table(results)
    is_global = summary["group"] == GLOBAL
    rows = summary[is_global].to_dict("records")
    parts = [outcome(row, r.score_kind) for row, r in zip(rows, results.datasets, strict=False)]
    parts += ["", heading, as_text(summary[is_global].drop(columns=[*NOT_SHOWN, "group"]))]
    for (name, fraction), types in summary[~is_global].groupby(["dataset", "train_fraction"], sort=False):
        part = "" if fraction == 1 else f", training fraction {fraction:g}"
        parts.append(f"\n{name}{part}, by type of distortion")
        parts.append(as_text(types[["group", "splits", "images", *METRICS]]))
    return parts


def write_results(results: Results, experiment: Experiment) -> None:
    """Writes results.csv (the summary), results.json, results.xlsx (also each split's metrics) and predictions.csv.

    In the CSV files, names that a spreadsheet would run as a formula are converted by `without_formula`.

    Raises:
        UserError: a file cannot be written.
    """
    summary = summary_table(results)
    write_text(experiment.results("csv"), table_as_csv(summary))
    tested = [r.tested.assign(**{key: getattr(r, key) for key in TEST}) for r in results.datasets]
    write_text(experiment.predictions, table_as_csv(pd.concat(tested)[[*TEST, *TESTED]]))
    content = _content(results, summary)
    text = json.dumps(content, default=_as_json, indent=2, allow_nan=False, ensure_ascii=False)
    write_text(experiment.results("json"), text + "\n")
    sheets = {"summary": summary, "splits": split_table(results)}
    if results.cross:
        sheets["cross-dataset"] = pd.DataFrame([asdict(c) for c in results.cross])
    write_atomic(experiment.results("xlsx"), lambda file: _write_workbook(sheets, file))


def table_as_csv(table: pd.DataFrame) -> str:
    """Formats a table as CSV without formulas, see `without_formula`."""
    safe = table.map(lambda value: without_formula(value) if isinstance(value, str) else value)
    return safe.to_csv(index=False, lineterminator="\n")


def _write_workbook(sheets: Mapping[str, pd.DataFrame], file: BinaryIO) -> None:
    with pd.ExcelWriter(file, engine="openpyxl") as book:
        for name, sheet in sheets.items():
            sheet.to_excel(book, sheet_name=name, index=False)
        for cell in (cell for sheet in book.book for row in sheet.iter_rows() for cell in row):
            if isinstance(cell.value, str):
                cell.data_type = "s"  # openpyxl would write a name such as =A1 as a formula


def _content(results: Results, summary: pd.DataFrame) -> dict[str, Any]:
    """Returns the content of results.json; `_as_json` converts arrays and dataclasses."""
    datasets = [
        {each.name: getattr(r, each.name) for each in fields(r) if each.name not in ("grid", "tested")}
        | {"validation_srocc": r.grid, "best": r.best(), "worst": r.worst()}
        for r in results.datasets
    ]
    separability = {
        dataset: {encoder: {key: _none_if_nan(v) for key, v in values.items()} for encoder, values in encoders.items()}
        for dataset, encoders in results.separability.items()
    }
    return {
        "encoder_hash": results.encoder_hash,
        "checkpoint": results.checkpoint,
        "summary": summary.to_dict("records"),
        "datasets": datasets,
        "cross_dataset": results.cross,
        "published_cross_dataset": results.published_cross(),
        "failures": results.failures,
        "published": results.published,
        "full_reference": results.full_reference,
        "separability": separability,
        "config": results.config,
        "environment": run_environment(),
    }


def _as_json(value: Any) -> Any:
    return [_none_if_nan(v) for v in value.tolist()] if isinstance(value, np.ndarray) else asdict(value)


def _validation_line(result: DatasetResult) -> str:
    published = "/".join(f"{figure:.3f}" for figure in PUBLISHED_VALIDATION[result.dataset])
    ours = f"; here SROCC {np.median(result.grid, axis=0).max():.3f}" if result.grid is not None else ""
    return f"published: {result.dataset}, validation images {published} (SROCC/PLCC/KROCC){ours}"


def _none_if_nan(value: float | None) -> float | None:
    return value if value == value else None


def _with_none(table: pd.DataFrame) -> pd.DataFrame:
    """Replaces NaN by None."""
    return table.astype(object).where(table.notna(), None)


def cells(table: pd.DataFrame, missing: str = "-") -> pd.DataFrame:
    """Formats the cells of a table as text. Correlations have three decimals; None and NaN become `missing`."""

    def text(value: Any, form: str) -> str:
        if value is None or value != value:
            return missing
        return format(value, form) if isinstance(value, float) else str(value)

    shown = table.astype(object)
    for name in table.columns:
        shown[name] = [text(value, FORMATS.get(name, ".3f")) for value in table[name]]
    return shown


def as_text(table: pd.DataFrame, index: bool = False) -> str:
    """Formats a table as plain text, see `cells`."""
    return cells(table).to_string(index=index)
