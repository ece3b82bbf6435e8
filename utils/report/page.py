"""The report of an experiment: one self-contained HTML file.

It shows what training and testing left in the experiment's folder, and says what is missing there.
"""

import io
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from models.errors import UserError
from models.experiment import Experiment
from models.files import parsing, write_text
from utils.config.yaml_file import read_yaml
from utils.evaluation.manifold import Manifold
from utils.evaluation.protocol import GLOBAL
from utils.evaluation.results import NOT_SHOWN, SCORE_KINDS, CrossResult, cross_table, separability_table
from utils.report import figures
from utils.report.interactive import manifold_plot
from utils.report.page_parts import data_uri, now, templates, thumbnail
from utils.report.pictures import draw as draw_picture
from utils.report.svg import svg

THUMBNAIL = 160  # longest side of a picture, in pixels


@dataclass(frozen=True)
class Drawing:
    """A drawn figure and its caption."""

    html: Markup
    caption: str


@dataclass(frozen=True)
class Picture:
    """An image of the dataset; `data` is its data URI, empty if the file is no longer readable."""

    data: str
    caption: str


@dataclass
class Page:
    """What the template shows. A section whose list is empty is left out; `missing` says why."""

    title: str
    written: str
    outcome: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    summary: Markup | None = None
    types: Markup | None = None
    separability: Markup | None = None
    untrained: bool = False
    training: list[Drawing] = field(default_factory=list)
    tests: list[Drawing] = field(default_factory=list)
    cross: dict[str, Markup] = field(default_factory=dict)
    manifold: list[Drawing] = field(default_factory=list)
    pictures: dict[str, list[Picture]] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    config: str = ""
    published: bool = False
    full_reference: bool = False


def write_report(experiment: Experiment) -> Path:
    """Writes the report of an experiment into its folder, from what is there; returns the path.

    Raises:
        UserError: there is no such folder, one of its files is damaged, or the report cannot be written.
    """
    if not experiment.folder.is_dir():
        raise UserError(f"{experiment.folder}: no such folder; training (main.py) makes it")
    page = Page(experiment.title, written=now())
    results, made_with = _read_json(experiment.results("json")), _read_json(experiment.environment) or {}
    written = experiment.config.exists()
    config = read_yaml(experiment.config) if written else (results or {}).get("config")
    with parsing(experiment.config if written else experiment.results("json"), "as main.py writes it"):
        config = dict(config or {})
        epochs = dict(config.get("training") or {}).get("epochs")
        page.config = yaml.safe_dump(config, sort_keys=False, allow_unicode=True) if config else ""
    _add_training(page, experiment, int(epochs) if isinstance(epochs, int) else None, made_with)
    _add_results(page, experiment, results)
    _add_manifold(page, experiment)
    page.facts = {"seed": config.get("seed", "unknown"), **made_with, **page.facts}
    text = render_template("page.html.jinja", title=page.title, page=page, interactive=bool(page.manifold))
    write_text(experiment.report, text)
    return experiment.report


def render_template(name: str, **content: Any) -> str:
    """A page from a template of this folder. It has Plotly's script if `interactive` is given and true."""
    pages = templates()
    pages.filters["table"] = _table
    plotly = Markup(get_plotlyjs()) if content.get("interactive") else ""
    return pages.get_template(name).render(plotly=plotly, **content)


def drawn(caption: str, draw: Callable[..., Any], *arguments: Any) -> Drawing:
    """A figure that one of `utils.report.figures` draws."""
    return Drawing(svg(caption, draw, *arguments), caption)


def _add_training(page: Page, experiment: Experiment, epochs: int | None, made_with: dict[str, Any]) -> None:
    path = experiment.metrics
    if not path.exists():
        page.missing.append(f"no training: there is no {path.name}")
        return
    with parsing(path, "a log of training"):
        _add_log(page, experiment, pd.read_csv(path, on_bad_lines="skip"), epochs, made_with)


def _add_log(
    page: Page, experiment: Experiment, table: pd.DataFrame, epochs: int | None, made_with: dict[str, Any]
) -> None:
    steps, validations = table.dropna(subset=["loss"]), table.dropna(subset=["srocc"])
    if steps.empty:
        page.missing.append("training has not logged a step yet")
        return
    last = steps.iloc[-1]
    lately = steps["loss"].tail(figures.SMOOTHING)
    step, planned = int(last["step"]), _planned_steps(steps, epochs)
    of_all = "" if planned is None else f" of {planned}"
    begun = "" if epochs is None else f", {int(last['epoch']) + 1} of {epochs} epochs begun"
    line = f"training step {step}{of_all}{begun}; loss {steps['loss'].iloc[0]:.3f} at the first step"
    page.notes.append(line + (f", mean of the last {len(lately)}: {lately.mean():.3f}" if len(steps) > 1 else ""))
    if not experiment.best_checkpoints():
        page.missing.append("training is not finished: no epoch has been validated yet")
    elif planned is not None and step < planned:
        page.missing.append(f"training is not finished: {step} of {planned} steps are done")
    elif planned is None and epochs is not None and int(last["epoch"]) + 1 < epochs:
        page.missing.append(f"training is not finished: {int(last['epoch']) + 1} of {epochs} epochs begun")
    if len(steps) > 1:
        page.training.append(drawn("Loss of each training step, and its running mean", figures.loss_curve, steps))
        page.training.append(drawn("Learning rate of each training step", figures.learning_rate_curve, steps))
    names = [c[: -len("_srocc")] for c in table.columns if c.endswith("_srocc")]
    if len(validations) > 1:
        caption = "Validation SROCC after each epoch"
        page.training.append(drawn(caption, figures.validation_curve, validations, names))
    for _, row in validations.tail(1).iterrows():
        kinds = {name: str(made_with.get(f"splits of {name}", "")).partition(" ")[0] for name in names}
        on = {name: f"{name} ({kind} splits)" if kind else name for name, kind in kinds.items()}
        scores = ", ".join(f"{row[f'{name}_srocc']:.3f} on {on[name]}" for name in names) or f"{row['srocc']:.3f}"
        page.notes.append(f"last validation, after epoch {int(row['epoch'])}: median SROCC {scores}")


def _planned_steps(steps: pd.DataFrame, epochs: int | None) -> int | None:
    """Steps of all epochs, from the log of those before the last one begun; None if there is none."""
    earlier = steps[steps["epoch"] < steps["epoch"].max()]
    if epochs is None or earlier.empty:
        return None
    return epochs * int(earlier["step"].max()) // (int(earlier["epoch"].max()) + 1)


def _add_results(page: Page, experiment: Experiment, results: dict[str, Any] | None) -> None:
    if results is None:
        page.missing.append("no test results yet: run test.py")
        page.outcome.append("; ".join(["Not tested yet", *page.notes[-1:]]) + ".")
        page.notes = page.notes[:-1]
        return
    with parsing(experiment.results("json"), "as test.py writes it", "run the test again"):
        summary = pd.DataFrame(results["summary"])
        shown = summary.drop(columns=NOT_SHOWN)
        page.full_reference = bool(results["full_reference"])
        page.published = bool(results["published"])
        if (shown["train_fraction"] == 1).all():
            shown = shown.drop(columns="train_fraction")
        page.untrained = "untrained_srocc" in shown
        page.summary = _table(shown[shown["group"] == GLOBAL].drop(columns="group"))
        types = shown[shown["group"] != GLOBAL].drop(columns=["splits_kind", "alpha"])
        page.types = _table(types) if len(types) else None
        page.facts = dict(results.get("environment") or {})
        if results["checkpoint"]:
            _add_checkpoint(page, experiment, results["checkpoint"])
        page.missing += [f"{name} has no result: {line}" for name, line in results["failures"].items()]
        for found in _largest_fraction(results["datasets"]):
            _add_dataset(page, found, results["summary"])
        for title, key in (("SROCC across datasets", "cross"), ("Published SROCC across datasets", "published_cross")):
            if results[f"{key}_dataset"]:
                cross = [CrossResult(**c) for c in results[f"{key}_dataset"]]
                page.cross[title] = _table(cross_table(cross, "srocc"), index=True)
        if results["separability"]:
            page.separability = _table(separability_table(results["separability"]))


def _add_checkpoint(page: Page, experiment: Experiment, tested: str) -> None:
    """Which weights were tested, and whether the training has found better ones since."""
    page.notes.append(f"tested weights: {tested}")
    best = experiment.best_checkpoints()
    if best and best[-1].name != tested:
        page.missing.append(f"the results are of {tested}, the best weights are now {best[-1].name}: run test.py again")


def _add_dataset(page: Page, found: dict[str, Any], summary: list[dict[str, Any]]) -> None:
    name, scores = found["dataset"], found["scores"][GLOBAL]
    rows = [r for r in summary if (r["dataset"], r["train_fraction"]) == (name, found["train_fraction"])]
    page.outcome.append(_outcome(next(r for r in rows if r["group"] == GLOBAL), found["score_kind"]))
    page.notes += [f"{name}: {note}" for note in found["notes"]]
    caption = (
        f"{name}: predicted against true scores of the first split's {len(found['predictions'])} test images, "
        f"SROCC {scores['srocc'][0]:.3f}, PLCC {scores['plcc'][0]:.3f}"
    )
    page.tests.append(drawn(caption, figures.predictions_plot, found["predictions"]))
    if found["validation_srocc"]:
        caption = f"{name}: validation SROCC for each alpha; {found['alpha']:.3g} is chosen"
        page.tests.append(drawn(caption, figures.alpha_curve, found))
    types = [r for r in rows if r["group"] != GLOBAL]
    if types:
        caption = f"{name}: SROCC of each type of distortion (number of the first split's test images)"
        page.tests.append(drawn(caption, figures.type_bars, types))
    for kind in ("best", "worst"):
        page.pictures[f"{name}: {kind} predictions of the first split"] = [_picture(p) for p in found[kind]]


def _outcome(row: dict[str, Any], score_kind: str) -> str:
    """One sentence on a dataset, from its row of `summary_table`."""
    interval = "" if row["srocc_low"] is None else f" [{row['srocc_low']:.2f}, {row['srocc_high']:.2f}]"
    fraction = "" if row["train_fraction"] == 1 else f", fitted on {row['train_fraction']:g} of the training images"
    images, splits = int(row["images"]), int(row["splits"])  # JSON may have them as floats
    of = f"median of {splits} splits, {images} test images in the first" if splits > 1 else f"{images} test images"
    beside = [
        f"{name} {row[column]:.2f}"
        for name, column in (("untrained encoder", "untrained_srocc"), ("published", "published_srocc"))
        if row.get(column) is not None
    ]
    return (
        f"SROCC {row['srocc']:.2f}{interval} on {row['dataset']} ({SCORE_KINDS[score_kind]}; {of}{fraction})"
        f"{''.join(f'; {figure}' for figure in beside)}."
    )


def _add_manifold(page: Page, experiment: Experiment) -> None:
    content = _read_json(experiment.manifold)
    if content is None:
        page.missing.append(
            "no manifold: validation.visualize is off, or no dataset has types and levels and ten validation images"
        )
        return
    with parsing(experiment.manifold, "as test.py writes it", "run the test again"):
        manifold = Manifold(**content)
        for method in manifold.points:
            for kind, color in (("groups", "group of distortion"), ("mos", "score")):
                caption = f"{method} of {len(manifold.names)} images of {manifold.dataset}, coloured by {color}"
                page.manifold.append(_interactive(caption, manifold, method, kind, page))
    if "UMAP" not in manifold.points:
        page.notes.append("UMAP is drawn too where the optional package umap-learn is installed")


def _interactive(caption: str, manifold: Manifold, method: str, kind: str, page: Page) -> Drawing:
    """The manifold by Plotly, and a picture of it for paper."""
    plot = manifold_plot(manifold, method, by_score=kind == "mos").to_html(
        full_html=False,
        include_plotlyjs=False,
        div_id=f"manifold-{len(page.manifold)}",
        default_width="100%",
        config={"displaylogo": False, "responsive": True},
    )
    file = io.BytesIO()
    draw_picture(manifold, method, kind, page.title).savefig(file, dpi=80, format="png")
    both = Markup('<div class="interactive">{}</div><img class="printed" alt="{}" src="{}">').format(
        Markup(plot), caption, data_uri(file.getvalue(), "png")
    )
    return Drawing(both, caption)


def _largest_fraction(datasets: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One result per dataset, that of the largest training fraction."""
    best: dict[str, dict[str, Any]] = {}
    for found in datasets:
        if found["train_fraction"] >= best.get(found["dataset"], found)["train_fraction"]:
            best[found["dataset"]] = found
    return list(best.values())


def _picture(prediction: dict[str, Any]) -> Picture:
    name, predicted, true = Path(prediction["image"]).name, prediction["prediction"], prediction["score"]
    caption = f"{name}\npredicted {predicted:.2f}\ntrue {true:.2f}"
    return Picture(thumbnail(prediction["image"], THUMBNAIL, quality=85), caption)


def _table(frame: pd.DataFrame, index: bool = False) -> Markup:
    """A table as HTML, its texts escaped. Columns without any value are left out."""
    frame = frame.dropna(axis=1, how="all")
    shown = frame.map(lambda v: "–" if v is None or v != v else f"{v:.3f}" if isinstance(v, float) else v)
    for exact in {"alpha", "train_fraction"} & set(frame.columns):
        shown[exact] = ["–" if v is None or v != v else f"{v:.3g}" for v in frame[exact]]
    for whole in {"splits", "images"} & set(frame.columns):
        shown[whole] = ["–" if v is None or v != v else f"{int(v)}" for v in frame[whole]]
    if not index:
        shown = shown.rename(columns=lambda name: str(name).replace("_", " "))  # so that a header may be broken
    html = shown.rename_axis(index=None, columns=None).to_html(
        index=index, border=0, classes="matrix" if index else None
    )
    html = re.sub(r"_|[^\W_]{14}(?=[^\W_])", r"\g<0><wbr>", html)  # where a long name may be broken
    return Markup(re.sub(r"<td>(?=[^<]*[A-Za-z])", '<td class="text">', html))


def _read_json(path: Path) -> dict[str, Any] | None:
    if not path.exists():
        return None
    with parsing(path, "as it is written here", "run the test again, or delete the file"):
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError(f"found {type(content).__name__}")
        return content
