"""The figures of the report, drawn by matplotlib for `utils.report.svg`. Sizes are in pixels at the width `WIDTH`."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from utils.evaluation.protocol import ALPHAS
from utils.report.pictures import GROUP_COLORS, group_colors
from utils.report.svg import GREY, TEXT

SMOOTHING = 25  # steps in the running mean of the loss
WIDTH, HEIGHT = 420, 300
POINTS = 400  # at most, along a curve of training steps
LETTERS = 26  # at most, in a name inside a figure
COLORS = ("#3d85cc", "#e0812b", "#3a9a4f", "#c4453c", "#8a63b8", "#8b5e4e", "#d270b4", "#7d7d7d")


def loss_curve(steps: pd.DataFrame) -> Figure:
    """Loss of every step and its running mean. Many steps are drawn as ranges from their lowest to highest loss."""
    figure, axes = _axes("step", "NT-Xent loss")
    parts = np.arange(len(steps)) // math.ceil(len(steps) / POINTS)
    of = steps.groupby(parts)
    mean = steps["loss"].rolling(SMOOTHING, min_periods=1).mean().groupby(parts).last()
    lowest, highest = of["loss"].min(), of["loss"].max()
    axes.fill_between(of["step"].last(), lowest, highest, color=COLORS[0], alpha=0.35, linewidth=1, label="each step")
    axes.plot(of["step"].last(), mean, color=COLORS[1], label=f"mean of {SMOOTHING} steps")
    _legend(figure)
    return figure


def learning_rate_curve(steps: pd.DataFrame) -> Figure:
    figure, axes = _axes("step", "learning rate")
    axes.plot(steps["step"], steps["learning_rate"], color=COLORS[0])
    axes.set_ylim(bottom=0)
    return figure


def validation_curve(validations: pd.DataFrame, datasets: Sequence[str]) -> Figure:
    """Validation SROCC of each dataset and their mean, over two or more epochs."""
    figure, axes = _axes("epoch", "median SROCC")
    for name, color in zip(datasets, COLORS * len(datasets), strict=False):
        axes.plot(validations["epoch"], validations[f"{name}_srocc"], "o-", ms=4, color=color, label=shortened(name))
    if len(datasets) != 1:
        axes.plot(validations["epoch"], validations["srocc"], "o-", ms=4, lw=3, color=TEXT, label="mean")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _legend(figure)
    return figure


def predictions_plot(points: Sequence[Mapping[str, Any]]) -> Figure:
    """Predicted against true scores with the same scale on both axes, coloured by group of distortion if they are few.

    Pointing at one shows the image's name and its scores.
    """
    groups = sorted({p["group"] or "" for p in points})
    colors: Mapping[str, Any] = group_colors(groups)
    if not 1 < len(groups) <= len(GROUP_COLORS):
        colors = dict.fromkeys(groups, COLORS[0])
    figure, axes = _axes("true score", "predicted score", height=WIDTH)
    for group in groups:
        of = [p for p in points if (p["group"] or "") == group]
        drawn = axes.scatter(
            [p["score"] for p in of], [p["prediction"] for p in of], s=18, color=colors[group], alpha=0.75,
            edgecolors="none", label=shortened(group), clip_on=False,
        )  # fmt: skip
        names = [p["image"].replace("\\", "/").rsplit("/", 1)[-1] for p in of]
        texts = zip(names, of, strict=True)
        drawn.set_urls([f"{n}: true {p['score']:.3f}, predicted {p['prediction']:.3f}" for n, p in texts])
    values = [p[kind] for p in points for kind in ("score", "prediction")]
    room = 0.04 * (max(values) - min(values)) or 1.0
    ends = min(values) - room, max(values) + room
    axes.plot(ends, ends, ":", color=GREY, lw=1.5, zorder=0)
    axes.set(xlim=ends, ylim=ends, aspect="equal")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    if 1 < len(groups) <= len(GROUP_COLORS):
        figure.set_figheight(figure.get_figheight() + _legend(figure))
    return figure


def type_bars(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Median SROCC of each type of distortion, the highest first, with that of the untrained encoder if it is there.

    Args:
        rows: of `summary_table`, of one dataset's types.
    """
    of = sorted(rows, key=lambda row: float(row["srocc"]))
    figure, axes = _axes("median SROCC", "", height=70 + 20 * len(of))
    places = np.arange(len(of))
    axes.barh(places, [r["srocc"] for r in of], height=0.7, color=COLORS[0], label="trained")
    if any(r.get("untrained_srocc") is not None for r in of):
        before = [np.nan if r.get("untrained_srocc") is None else r["untrained_srocc"] for r in of]
        axes.plot(before, places, "|", color=COLORS[1], ms=13, mew=3, label="untrained")
        figure.set_figheight(figure.get_figheight() + _legend(figure))
    axes.set_yticks(places, [f"{shortened(str(r['group']))} ({int(r['images'])})" for r in of], parse_math=False)
    axes.set_ylim(-0.6, len(of) - 0.4)
    axes.axvline(0, color=GREY, lw=1)
    axes.grid(False, axis="y")
    return figure


def alpha_curve(found: Mapping[str, Any]) -> Figure:
    """Validation SROCC for each candidate alpha: every split and the median."""
    grid = np.asarray(found["validation_srocc"])
    figure, axes = _axes("alpha", "validation SROCC")
    if len(grid) > 1:
        axes.plot(ALPHAS, grid.T, color=GREY, lw=1, label=["each split", *["_"] * (len(grid) - 1)])
    axes.plot(ALPHAS, np.median(grid, axis=0), color=COLORS[0], lw=3, label="median")
    axes.axvline(found["alpha"], ls=":", lw=2, color=COLORS[3], label="chosen")
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda alpha, _: f"{alpha:g}"))
    axes.minorticks_off()
    _legend(figure)
    return figure


def difference_plot(found: pd.DataFrame, metric: str) -> Figure:
    """Each experiment's difference to the first one on every dataset, with its confidence interval."""
    of = found[(found["metric"] == metric) & found["difference"].notna()]
    experiments, datasets = of["experiment"].unique(), of["dataset"].unique()
    figure, axes = _axes("difference", "", height=70 + len(datasets) * (20 + 14 * len(experiments)))
    for number, name in enumerate(experiments):
        rows = of[of["experiment"] == name].set_index("dataset").loc[datasets]
        places = np.arange(len(datasets)) + 0.6 * ((number + 0.5) / len(experiments) - 0.5)
        ends = [rows["difference"] - rows["low"], rows["high"] - rows["difference"]]
        color = COLORS[number % len(COLORS)]
        axes.errorbar(rows["difference"], places, xerr=ends, fmt="o", ms=5, color=color, label=shortened(str(name)))
    figure.set_figheight(figure.get_figheight() + _legend(figure))
    axes.set_yticks(np.arange(len(datasets)), [shortened(str(name)) for name in datasets], parse_math=False)
    axes.set_ylim(len(datasets) - 0.5, -0.5)
    axes.axvline(0, color=GREY, lw=1)
    axes.grid(False, axis="y")
    return figure


def shortened(name: str, letters: int = LETTERS) -> str:
    """The name, or its two ends: its middle is left out if it is long."""
    half = letters // 2
    return name if len(name) <= letters else f"{name[: half - 1]}…{name[-half:]}"


def _axes(x: str, y: str, height: float = HEIGHT) -> tuple[Figure, Any]:
    figure = Figure(figsize=(WIDTH / 72, height / 72))
    axes = figure.add_subplot()
    axes.set(xlabel=x, ylabel=y)
    return figure, axes


def _legend(figure: Figure) -> float:
    """Adds a legend below the figure, and returns its height in inches."""
    handles, labels = figure.axes[0].get_legend_handles_labels()
    columns = max(1, 54 // (max(map(len, labels)) + 6))
    figure.legend(
        handles, labels, loc="outside lower center", ncols=columns, columnspacing=1.2, handlelength=1.2, markerscale=1.5
    )
    return (math.ceil(len(labels) / columns) * 16 + 12) / 72
