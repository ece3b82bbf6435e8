"""The report of an experiment: one self-contained HTML file.

It shows what training and testing left in the experiment's folder, and says what is missing there.
"""

import base64
import io
import json
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
import yaml
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from utils.config.yaml_file import read_yaml
from utils.errors import UserError
from utils.evaluation.manifold import Manifold
from utils.evaluation.protocol import GLOBAL
from utils.evaluation.results import NOT_SHOWN, separability_table
from utils.experiment.layout import Experiment
from utils.image import open_thumbnail
from utils.report import figures
from utils.runtime.files import write_text

THUMBNAIL = 160  # longest side of a picture, in pixels


@dataclass(frozen=True)
class Figure:
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
    missing: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    summary: pd.DataFrame | None = None
    types: pd.DataFrame | None = None
    separability: pd.DataFrame | None = None
    training: list[Figure] = field(default_factory=list)
    tests: list[Figure] = field(default_factory=list)
    cross: list[Figure] = field(default_factory=list)
    manifold: list[Figure] = field(default_factory=list)
    pictures: dict[str, list[Picture]] = field(default_factory=dict)
    facts: dict[str, str] = field(default_factory=dict)
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
    draw = Drawer()
    results = _read_json(experiment.results("json"))
    config = (read_yaml(experiment.config) if experiment.config.exists() else {}) or (results or {}).get("config") or {}
    _add_training(page, experiment, config, draw)
    _add_results(page, experiment, results, draw)
    _add_manifold(page, experiment, draw)
    page.config = yaml.safe_dump(config, sort_keys=False, allow_unicode=True) if config else ""
    made_with = (results or {}).get("environment") or _read_json(experiment.environment) or {}
    page.facts = {"seed": str(config.get("seed", "unknown")), **{k: str(v) for k, v in made_with.items()}}
    text = render_template("page.html.jinja", title=page.title, page=page, figures=draw.count)
    write_text(experiment.report, text)
    return experiment.report


def render_template(name: str, **content: Any) -> str:
    """A page from a template of this folder. It has Plotly's script if `figures` is neither empty nor 0."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=jinja2.StrictUndefined
    )
    environment.filters["table"] = _table
    plotly = Markup(get_plotlyjs()) if content["figures"] else ""
    return environment.get_template(name).render(plotly=plotly, **content)


class Drawer:
    """Turns figures into HTML and counts them; the page includes Plotly's script once if there are any."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, figure: Any, caption: str) -> Figure:
        self.count += 1
        html = figure.to_html(
            full_html=False,
            include_plotlyjs=False,
            div_id=f"figure-{self.count}",
            default_width="100%",
            config={"displaylogo": False, "responsive": True},
        )
        return Figure(Markup(html), caption)


def _add_training(page: Page, experiment: Experiment, config: dict[str, Any], draw: Drawer) -> None:
    path = experiment.metrics
    if not path.exists():
        page.missing.append(f"no training: there is no {path.name}")
        return
    try:
        table = pd.read_csv(path, on_bad_lines="skip")
        steps = table.dropna(subset=["loss"])
        validations = table.dropna(subset=["srocc"])
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{path}: not a log of training ({str(error).splitlines()[0]})") from error
    for broken in experiment.not_finite_files():
        page.missing.append(f"training stopped on a loss that is not finite: its state is in {broken.name}")
    if steps.empty:
        page.missing.append("training has not logged a step yet")
        return
    last, epochs = steps.iloc[-1], config.get("training", {}).get("epochs")
    mean = steps["loss"].tail(figures.SMOOTHING).mean()
    page.notes.append(
        f"{int(last['step'])} steps, {int(last['epoch']) + 1} of {epochs} epochs begun; loss "
        f"{steps['loss'].iloc[0]:.3f} at the first step, {mean:.3f} over the last {figures.SMOOTHING}"
    )
    if not experiment.best_checkpoints():
        page.missing.append("training is not finished: no epoch has been validated yet")
    elif epochs is not None and int(last["epoch"]) + 1 < epochs:
        page.missing.append(f"training is not finished: {int(last['epoch']) + 1} of {epochs} epochs begun")
    page.training.append(draw(figures.loss_curve(steps), "Loss of each training step, and its running mean"))
    page.training.append(draw(figures.learning_rate_curve(steps), "Learning rate of each training step"))
    if not validations.empty:
        names = [c[: -len("_srocc")] for c in table.columns if c.endswith("_srocc")]
        page.training.append(draw(figures.validation_curve(validations, names), "Validation SROCC after each epoch"))


def _add_results(page: Page, experiment: Experiment, results: dict[str, Any] | None, draw: Drawer) -> None:
    if results is None:
        page.missing.append("no test results yet: run test.py")
        return
    try:
        summary = pd.DataFrame(results["summary"])
        shown = summary.drop(columns=NOT_SHOWN)
        page.full_reference = bool(results["full_reference"])
        page.published = bool(results["published"])
        page.summary = shown[shown["group"] == GLOBAL].drop(columns="group")
        types = shown[shown["group"] != GLOBAL]
        page.types = types if len(types) else None
        page.missing += [f"{name} has no result: {line}" for name, line in results["failures"].items()]
        for found in _largest_fraction(results["datasets"]):
            name = found["dataset"]
            scores = found["scores"][GLOBAL]
            page.notes += [f"{name}: {note}" for note in found["notes"]]
            page.tests.append(
                draw(
                    figures.predictions_plot(found),
                    f"{name}: predicted against true scores in the first split, "
                    f"SROCC {scores['srocc'][0]:.3f}, PLCC {scores['plcc'][0]:.3f}",
                )
            )
            bars, curve = figures.type_bars(results["summary"], name), figures.alpha_curve(found)
            if bars is not None:
                page.tests.append(draw(bars, f"{name}: SROCC of each type of distortion"))
            if curve is not None:
                page.tests.append(
                    draw(curve, f"{name}: validation SROCC for each alpha; {found['alpha']:.3g} is chosen")
                )
            for kind in ("best", "worst"):
                page.pictures[f"{name}: {kind} predictions of the first split"] = [_picture(p) for p in found[kind]]
        if results["cross_dataset"]:
            page.cross.append(draw(figures.cross_heatmap(results["cross_dataset"]), "SROCC across datasets"))
        if results["published_cross_dataset"]:
            published = figures.cross_heatmap(results["published_cross_dataset"])
            page.cross.append(draw(published, "Published SROCC across datasets"))
        if results["separability"]:
            page.separability = separability_table(results["separability"])
    except (KeyError, TypeError) as error:
        raise UserError(
            f"{experiment.results('json')}: not as test.py writes it now ({error!r}); run the test again"
        ) from error


def _add_manifold(page: Page, experiment: Experiment, draw: Drawer) -> None:
    content = _read_json(experiment.manifold)
    if content is None:
        page.missing.append(
            "no manifold: validation.visualize is off, or no dataset has types and levels and ten validation images"
        )
        return
    try:
        manifold = Manifold(**content)
        for method in manifold.points:
            for by_score in (False, True):
                color = "MOS" if by_score else "group of distortion"
                caption = f"{method} of {len(manifold.names)} images of {manifold.dataset}, coloured by {color}"
                page.manifold.append(draw(figures.manifold_plot(manifold, method, by_score), caption))
    except (TypeError, ValueError) as error:
        raise UserError(f"{experiment.manifold}: not in the present form ({error}); run the test again") from error
    if "UMAP" not in manifold.points:
        page.notes.append("UMAP is drawn too where the optional package umap-learn is installed")


def _largest_fraction(datasets: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One result per dataset, that of the largest training fraction."""
    best: dict[str, dict[str, Any]] = {}
    for found in datasets:
        if found["train_fraction"] >= best.get(found["dataset"], found)["train_fraction"]:
            best[found["dataset"]] = found
    return list(best.values())


def _picture(prediction: dict[str, Any]) -> Picture:
    caption = (
        f"{Path(prediction['image']).name}: predicted {prediction['prediction']:.2f}, true {prediction['score']:.2f}"
    )
    try:
        image = open_thumbnail(prediction["image"], THUMBNAIL)
    except UserError:
        return Picture("", caption)
    file = io.BytesIO()
    image.save(file, "JPEG", quality=85)
    return Picture("data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode(), caption)


def _table(frame: pd.DataFrame) -> Markup:
    """A table as HTML, its texts escaped."""
    shown = frame.map(lambda v: "–" if v is None or v != v else f"{v:.3f}" if isinstance(v, float) else v)
    for exact in {"alpha", "train_fraction"} & set(frame.columns):
        shown[exact] = ["–" if v is None or v != v else f"{v:.3g}" for v in frame[exact]]
    for whole in {"splits"} & set(frame.columns):
        shown[whole] = ["–" if v is None or v != v else f"{int(v)}" for v in frame[whole]]
    return Markup(shown.to_html(index=False, border=0, escape=True))


def _read_json(path: Path) -> dict[str, Any] | None:
    if not path.exists():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: not readable as JSON ({error}); run the test again") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: not as it is written here; run the test again")
    return content


def now() -> str:
    """The time of writing, for people."""
    return datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z")
