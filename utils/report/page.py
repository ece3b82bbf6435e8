"""The report of an experiment: one self-contained HTML file.

It shows what training and testing left in the experiment's folder, and says what is missing there.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from markupsafe import Markup

from models.errors import UserError
from models.experiment import Experiment
from models.files import parsing, write_text
from utils.config.yaml_file import read_yaml
from utils.evaluation.manifold import Manifold
from utils.evaluation.protocol import GLOBAL
from utils.evaluation.results import NOT_SHOWN, CrossResult, cross_table, outcome, separability_table
from utils.report import figures
from utils.report.interactive import manifold_figure
from utils.report.page_parts import drawing, table, template, thumbnail
from utils.report.pictures import KINDS

THUMBNAIL, PRINTED = 160, 800  # longest side of a photo and of a manifold on paper, in pixels


@dataclass
class Page:
    """Content of the report. The template omits empty sections; `missing` says why they are empty."""

    outcome: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    summary: str = ""  # tables and figures are HTML
    types: str = ""
    separability: str = ""
    cross: dict[str, Markup] = field(default_factory=dict)
    training: list[Markup] = field(default_factory=list)
    tests: list[Markup] = field(default_factory=list)
    manifold: list[Markup] = field(default_factory=list)
    pictures: dict[str, list[tuple[str, str]]] = field(default_factory=dict)  # thumbnails and captions
    facts: dict[str, Any] = field(default_factory=dict)
    config: str = ""
    untrained: bool = False
    published: bool = False
    full_reference: bool = False


def write_report(experiment: Experiment) -> Path:
    """Writes the report of an experiment into its folder, from the files there; returns the path.

    Raises:
        UserError: there is no such folder, one of its files is damaged, or the report cannot be written.
    """
    if not experiment.folder.is_dir():
        raise UserError(f"{experiment.folder}: no such folder; training (main.py) creates it")
    page = Page()
    results, environment = _read_json(experiment.results("json")), _read_json(experiment.environment) or {}
    written = experiment.config.exists()
    config = read_yaml(experiment.config) if written else (results or {}).get("config")
    with parsing(experiment.config if written else experiment.results("json"), "as main.py writes it"):
        config = dict(config or {})
        epochs = dict(config.get("training") or {}).get("epochs")
        page.config = yaml.safe_dump(config, sort_keys=False, allow_unicode=True) if config else ""
    if not experiment.metrics.exists():
        page.missing.append(f"no training: there is no {experiment.metrics.name}")
    else:
        with parsing(experiment.metrics, "a log of training"):
            log = pd.read_csv(experiment.metrics, on_bad_lines="skip")
            _add_training(page, experiment, log, epochs if isinstance(epochs, int) else None, environment)
    if results is None:
        page.missing.append("no test results yet: run test.py")
        page.outcome.append("; ".join(["Not tested yet", *page.notes[-1:]]) + ".")
        page.notes = page.notes[:-1]
    else:
        with parsing(experiment.results("json"), "as test.py writes it", "run the test again"):
            _add_results(page, experiment, results)
    _add_manifold(page, experiment)
    page.facts = {"seed": config.get("seed", "unknown"), **environment, **page.facts}
    write_text(experiment.report, template("page.html.jinja").render(title=experiment.title, page=page))
    return experiment.report


def _add_training(
    page: Page, experiment: Experiment, log: pd.DataFrame, epochs: int | None, environment: dict[str, Any]
) -> None:
    steps, validations = log.dropna(subset=["loss"]), log.dropna(subset=["srocc"])
    if steps.empty:
        page.missing.append("training has not logged a step yet")
        return
    step, begun = int(steps["step"].iloc[-1]), int(steps["epoch"].iloc[-1]) + 1
    planned = _planned_steps(steps, epochs)
    line = f"training step {step}" + (f" of {planned}" if planned else "")
    line += (f", {begun} of {epochs} epochs begun" if epochs else "") + f"; loss {steps['loss'].iloc[0]:.3f} at the"
    recent = steps["loss"].tail(figures.SMOOTHING)
    page.notes.append(
        f"{line} first step" + (f", mean of the last {len(recent)}: {recent.mean():.3f}" if len(steps) > 1 else "")
    )
    if not experiment.best_checkpoints():
        page.missing.append("training is not finished: no epoch has been validated yet")
    elif planned and step < planned:
        page.missing.append(f"training is not finished: {step} of {planned} steps are done")
    elif not planned and epochs and begun < epochs:
        page.missing.append(f"training is not finished: {begun} of {epochs} epochs begun")
    if len(steps) > 1:
        page.training.append(drawing("Loss of each training step, and its running mean", figures.loss_curve, steps))
        page.training.append(drawing("Learning rate of each training step", figures.learning_rate_curve, steps))
    names = [c[: -len("_srocc")] for c in log.columns if c.endswith("_srocc")]
    if len(validations) > 1:
        caption = "Validation SROCC after each epoch"
        page.training.append(drawing(caption, figures.validation_curve, validations, names))
    for last in validations.tail(1).to_dict("records"):
        kinds = {name: str(environment.get(f"splits of {name}", "")).partition(" ")[0] for name in names}
        places = [f"{name} ({kind} splits)" if kind else name for name, kind in kinds.items()]
        scores = [f"{last[f'{name}_srocc']:.3f} on {place}" for name, place in zip(names, places, strict=True)]
        line = ", ".join(scores) or f"{last['srocc']:.3f}"
        page.notes.append(f"last validation, after epoch {int(last['epoch'])}: median SROCC {line}")


def _planned_steps(steps: pd.DataFrame, epochs: int | None) -> int | None:
    """Extrapolates the number of steps of all epochs from the complete epochs; None without any."""
    complete = steps[steps["epoch"] < steps["epoch"].max()]
    if epochs is None or complete.empty:
        return None
    return epochs * int(complete["step"].max()) // (int(complete["epoch"].max()) + 1)


def _add_results(page: Page, experiment: Experiment, results: dict[str, Any]) -> None:
    summary = pd.DataFrame(results["summary"]).drop(columns=NOT_SHOWN)
    if (summary["train_fraction"] == 1).all():
        summary = summary.drop(columns="train_fraction")
    page.full_reference, page.published = bool(results["full_reference"]), bool(results["published"])
    page.untrained = "untrained_srocc" in summary
    page.summary = table(summary[summary["group"] == GLOBAL].drop(columns="group"))
    types = summary[summary["group"] != GLOBAL].drop(columns=["splits_kind", "alpha"])
    page.types = table(types) if len(types) else ""
    page.facts = dict(results["environment"])
    tested, best = results["checkpoint"], [path.name for path in experiment.best_checkpoints()[-1:]]
    if tested:
        page.notes.append(f"tested weights: {tested}")
        page.missing += [
            f"the results are of {tested}, the best weights are now {name}: run test.py again"
            for name in best
            if name != tested
        ]
    page.missing += [f"{name} has no result: {line}" for name, line in results["failures"].items()]
    by_fraction = sorted(results["datasets"], key=lambda result: result["train_fraction"])
    for result in {result["dataset"]: result for result in by_fraction}.values():  # the largest fraction
        _add_dataset(page, result, results["summary"])
    for title, key in (("SROCC across datasets", "cross"), ("Published SROCC across datasets", "published_cross")):
        if results[f"{key}_dataset"]:
            cross = [CrossResult(**c) for c in results[f"{key}_dataset"]]
            page.cross[title] = table(cross_table(cross, "srocc"), index=True)
    if results["separability"]:
        page.separability = table(separability_table(results["separability"]))


def _add_dataset(page: Page, result: dict[str, Any], summary: list[dict[str, Any]]) -> None:
    name, scores, predictions = result["dataset"], result["scores"][GLOBAL], result["predictions"]
    rows = [r for r in summary if (r["dataset"], r["train_fraction"]) == (name, result["train_fraction"])]
    page.outcome.append(outcome(next(r for r in rows if r["group"] == GLOBAL), result["score_kind"]))
    page.notes += [f"{name}: {note}" for note in result["notes"]]
    caption = (
        f"{name}: predicted against true scores of the first split's {len(predictions)} test images, "
        f"SROCC {scores['srocc'][0]:.3f}, PLCC {scores['plcc'][0]:.3f}"
    )
    page.tests.append(drawing(caption, figures.predictions_plot, predictions))
    if result["validation_srocc"]:
        caption = f"{name}: validation SROCC for each alpha; {result['alpha']:.3g} is chosen"
        page.tests.append(drawing(caption, figures.alpha_curve, result))
    types = [r for r in rows if r["group"] != GLOBAL]
    if types:
        caption = f"{name}: SROCC of each type of distortion (number of the first split's test images)"
        page.tests.append(drawing(caption, figures.type_bars, types))
    for kind in ("best", "worst"):
        captions = [
            f"{Path(p['image']).name}\npredicted {p['prediction']:.2f}\ntrue {p['score']:.2f}" for p in result[kind]
        ]
        thumbnails = [thumbnail(p["image"], THUMBNAIL, quality=85) for p in result[kind]]
        page.pictures[f"{name}: {kind} predictions of the first split"] = list(zip(thumbnails, captions, strict=True))


def _add_manifold(page: Page, experiment: Experiment) -> None:
    if not experiment.manifold.exists():
        page.missing.append(
            "no manifold: validation.visualize is off, or no dataset has types and levels and ten validation images"
        )
        return
    with parsing(experiment.manifold, "as it is written here", "run the test again, or delete the file"):
        manifold = Manifold.load(experiment.manifold)
        for method in manifold.points:
            for kind in KINDS:
                printed = thumbnail(experiment.manifold_picture(method, kind), PRINTED, quality=85)
                page.manifold.append(manifold_figure(manifold, method, kind, printed, number=len(page.manifold)))
    if "UMAP" not in manifold.points:
        page.notes.append("UMAP is drawn too if the optional package umap-learn is installed")


def _read_json(path: Path) -> dict[str, Any] | None:
    if not path.exists():
        return None
    with parsing(path, "as it is written here", "run the test again, or delete the file"):
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError(f"found {type(content).__name__}")
        return content
