"""The report of an experiment, one self-contained HTML file: python -m utils.report --experiment_name NAME.

It reads what training and testing left in the experiment's folder, and says what is missing there.
"""

import argparse
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

from utils import report_figures as figures
from utils.errors import UserError, run_command
from utils.evaluation import GLOBAL
from utils.experiment import experiment_folder
from utils.image import open_thumbnail
from utils.manifold import FILE as MANIFOLD
from utils.manifold import Manifold
from utils.results import separability_table

REPORT = "report.html"
THUMBNAIL = 160  # longest side of a picture, in pixels
TEMPLATE = "report.html.jinja"


@dataclass(frozen=True)
class Figure:
    """A drawn figure and its caption."""

    html: Markup
    caption: str


@dataclass(frozen=True)
class Picture:
    """An image of the dataset; `data` is its data URI, empty if the file cannot be read any more."""

    data: str
    caption: str


@dataclass
class Page:
    """What the template shows. Lists that are empty leave their section out; `missing` says why."""

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


def write_report(folder: Path, title: str) -> Path:
    """Writes `report.html` into an experiment's folder from what is there; returns its path.

    Raises:
        UserError: there is no such folder, one of its files is damaged, or the report cannot be written.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; an experiment leaves one of its name in experiments/")
    page = Page(title, written=_now())
    draw = _Drawer()
    results = _read_json(folder / "results.json")
    config = _read_config(folder / "config.yaml") or (results or {}).get("config") or {}
    _add_training(page, folder, config, draw)
    _add_results(page, folder, results, draw)
    _add_manifold(page, folder, draw)
    page.config = yaml.safe_dump(config, sort_keys=False, allow_unicode=True) if config else ""
    made_with = (results or {}).get("environment") or _read_json(folder / "environment.json") or {}
    page.facts = {"seed": str(config.get("seed", "unknown")), **{k: str(v) for k, v in made_with.items()}}
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=jinja2.StrictUndefined
    )
    environment.filters["table"] = _table
    text = environment.get_template(TEMPLATE).render(page=page, plotly=Markup(get_plotlyjs()) if draw.count else "")
    path = folder / REPORT
    partial = path.with_suffix(".partial")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error})") from error
    return path


def folder_and_title(experiment_name: str, eval_type: str) -> tuple[Path, str]:
    """Where the results of an experiment's encoder ("scratch"), or of the released one tested in it ("arniqa"), lie."""
    folder = experiment_folder(experiment_name)
    return (
        (folder / "arniqa", f"{experiment_name} (released encoder)")
        if eval_type == "arniqa"
        else (folder, experiment_name)
    )


class _Drawer:
    """Turns figures into HTML; the script that draws them is in the page once."""

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


def _add_training(page: Page, folder: Path, config: dict[str, Any], draw: _Drawer) -> None:
    path = folder / "metrics.csv"
    if not path.exists():
        page.missing.append("no training here: there is no metrics.csv")
        return
    try:
        table = pd.read_csv(path, on_bad_lines="skip")
        steps = table.dropna(subset=["loss"])
        validations = table.dropna(subset=["srocc"])
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{path}: not a log of training ({str(error).splitlines()[0]})") from error
    for broken in sorted(folder.glob("pretrain/not_finite_step_*.pth")):
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
    if not list(folder.glob("pretrain/best_epoch_*.pth")):
        page.missing.append("training is not finished: no epoch has been validated yet")
    elif epochs is not None and int(last["epoch"]) + 1 < epochs:
        page.missing.append(f"training is not finished: {int(last['epoch']) + 1} of {epochs} epochs begun")
    page.training.append(draw(figures.loss_curve(steps), "Loss of each training step, and its running mean"))
    page.training.append(draw(figures.learning_rate_curve(steps), "Learning rate of each training step"))
    if not validations.empty:
        names = [c[: -len("_srocc")] for c in table.columns if c.endswith("_srocc")]
        page.training.append(draw(figures.validation_curve(validations, names), "Validation SROCC after each epoch"))


def _add_results(page: Page, folder: Path, results: dict[str, Any] | None, draw: _Drawer) -> None:
    if results is None:
        page.missing.append("no test results yet: test.py writes results.json")
        return
    try:
        summary = pd.DataFrame(results["summary"])
        shown = summary.drop(columns=[c for c in summary if c.endswith("_std") and c[:4] in ("kroc", "rmse")])
        page.published = bool(results.get("published"))
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
        if results["separability"]:
            page.separability = separability_table(results["separability"])
    except (KeyError, TypeError) as error:
        raise UserError(
            f"{folder / 'results.json'}: not as test.py writes it now ({error!r}); run the test again"
        ) from error


def _add_manifold(page: Page, folder: Path, draw: _Drawer) -> None:
    content = _read_json(folder / MANIFOLD)
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
        raise UserError(f"{folder / MANIFOLD}: not as it is written now ({error}); run the test again") from error
    if "UMAP" not in manifold.points:
        page.notes.append("UMAP is drawn too where the optional package umap-learn is installed")


def _largest_fraction(datasets: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One result per dataset: of several training fractions, the largest."""
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


def _read_config(path: Path) -> dict[str, Any] | None:
    if not path.exists():
        return None
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise UserError(f"{path}: not readable as YAML ({str(error).splitlines()[0]})") from error
    return content if isinstance(content, dict) else None


def _now() -> str:
    return datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %Z")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m utils.report", description=__doc__)
    parser.add_argument("--experiment_name", required=True, help="of the folder in experiments/")
    parser.add_argument(
        "--eval_type", choices=("scratch", "arniqa"), default="scratch", help="arniqa: the test of the released encoder"
    )
    arguments = parser.parse_args()
    print(write_report(*folder_and_title(arguments.experiment_name, arguments.eval_type)))


if __name__ == "__main__":
    run_command(main)
