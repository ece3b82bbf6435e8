"""Figures of the pages, drawn by matplotlib (see `page_parts.drawing`). Sizes are in pixels at the width `WIDTH`."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from utils.evaluation.protocol import ALPHAS
from utils.report.pictures import GROUP_COLORS, group_colors

SMOOTHING = 25  # steps in the running mean of the loss
WIDTH, HEIGHT = 420, 300
POINTS = 400  # maximum along a curve of training steps
LETTERS = 26  # maximum in a name inside a figure
BARS = 24  # maximum in a histogram
NARROWEST = 0.01  # minimum range of a histogram
GREY = "#808080"
COLORS = ("#3d85cc", "#e0812b", "#3a9a4f", "#c4453c", "#8a63b8", "#8b5e4e", "#d270b4", "#7d7d7d")


def loss_curve(steps: pd.DataFrame) -> Figure:
    """Loss of every step and its running mean. Many steps are drawn as ranges from their lowest to highest loss."""
    figure, axes = _axes("step", "NT-Xent loss")
    parts = np.arange(len(steps)) // math.ceil(len(steps) / POINTS)
    mean = steps["loss"].rolling(SMOOTHING, min_periods=1).mean().groupby(parts).last()
    step, loss = (steps.groupby(parts)[name] for name in ("step", "loss"))
    axes.fill_between(step.last(), loss.min(), loss.max(), color=COLORS[0], alpha=0.35, linewidth=1, label="each step")
    axes.plot(step.last(), mean, color=COLORS[1], label=f"mean of {SMOOTHING} steps")
    return _with_legend(figure)


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
        axes.plot(validations["epoch"], validations["srocc"], "o-", ms=4, lw=3, color="black", label="mean")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return _with_legend(figure)


def predictions_plot(points: Sequence[Mapping[str, Any]]) -> Figure:
    """Predicted against true scores, with the same scale on both axes, coloured by group of distortion unless many.

    The tooltip of a point has the image's name and its scores.
    """
    groups = sorted({p["group"] or "" for p in points})
    few = 1 < len(groups) <= len(GROUP_COLORS)
    colors = group_colors(groups) if few else dict.fromkeys(groups, COLORS[0])
    figure, axes = _axes("true score", "predicted score", height=WIDTH)
    for group in groups:
        inside = [p for p in points if (p["group"] or "") == group]
        drawn = axes.scatter(
            [p["score"] for p in inside], [p["prediction"] for p in inside], s=18, color=colors[group], alpha=0.75,
            edgecolors="none", label=shortened(group), clip_on=False,
        )  # fmt: skip
        names = [p["image"].replace("\\", "/").rpartition("/")[2] for p in inside]
        scores = [f"true {p['score']:.3f}, predicted {p['prediction']:.3f}" for p in inside]
        drawn.set_urls([f"{name}: {of}" for name, of in zip(names, scores, strict=True)])
    values = [p[kind] for p in points for kind in ("score", "prediction")]
    margin = 0.04 * (max(values) - min(values)) or 1.0
    ends = min(values) - margin, max(values) + margin
    axes.plot(ends, ends, ":", color=GREY, lw=1.5, zorder=0)
    axes.set(xlim=ends, ylim=ends, aspect="equal")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    return _with_legend(figure) if few else figure


def type_bars(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Median SROCC of each type of distortion, highest first, with that of the untrained encoder if available.

    Args:
        rows: of `summary_table`, of one dataset's types.
    """
    table = pd.DataFrame(rows).sort_values("srocc", ascending=False)
    names = [f"{shortened(str(r['group']))} ({int(r['images'])})" for r in table.to_dict("records")]
    figure, axes = _axes_by_name("median SROCC", names, 20)
    axes.barh(range(len(table)), table["srocc"], height=0.7, color=COLORS[0], label="trained")
    if "untrained_srocc" not in table or table["untrained_srocc"].isna().all():
        return figure
    untrained = table["untrained_srocc"].astype(float)
    axes.plot(untrained, range(len(table)), "|", color=COLORS[1], ms=13, mew=3, label="untrained")
    return _with_legend(figure)


def alpha_curve(result: Mapping[str, Any]) -> Figure:
    """Validation SROCC for each candidate alpha: every split and the median."""
    grid = np.asarray(result["validation_srocc"])
    figure, axes = _axes("alpha", "validation SROCC")
    if len(grid) > 1:
        axes.plot(ALPHAS, grid.T, color=GREY, lw=1, label=["each split", *["_"] * (len(grid) - 1)])
    axes.plot(ALPHAS, np.median(grid, axis=0), color=COLORS[0], lw=3, label="median")
    axes.axvline(result["alpha"], ls=":", lw=2, color=COLORS[3], label="chosen")
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda alpha, _: f"{alpha:g}"))
    axes.minorticks_off()
    return _with_legend(figure)


def difference_plot(table: pd.DataFrame, metric: str) -> Figure:
    """The difference of each experiment to the first one on every dataset, with its confidence interval."""
    table = table[(table["metric"] == metric) & table["difference"].notna()]
    experiments, datasets = table["experiment"].unique(), table["dataset"].unique()
    names = [shortened(str(name)) for name in datasets]
    figure, axes = _axes_by_name("difference", names, 20 + 14 * len(experiments))
    for number, name in enumerate(experiments):
        rows = table[table["experiment"] == name].set_index("dataset").loc[datasets]
        places = np.arange(len(datasets)) + 0.6 * ((number + 0.5) / len(experiments) - 0.5)
        ends = [rows["difference"] - rows["low"], rows["high"] - rows["difference"]]
        color = COLORS[number % len(COLORS)]
        axes.errorbar(rows["difference"], places, xerr=ends, fmt="o", ms=5, color=color, label=shortened(str(name)))
    return _with_legend(figure)


def histogram(values: np.ndarray, of: str) -> Figure:
    """Counts of n values between round numbers, and their median. A bar has its range and count as tooltip.

    `of` names the values on the axis.
    """
    figure, axes = _axes(of, "images", height=130)
    low, high = float(values.min()), float(values.max())
    margin = max(0.0, NARROWEST - (high - low)) / 2
    edges = MaxNLocator(BARS, steps=[1, 2, 5, 10]).tick_values(low - margin, high + margin)
    values = values.clip(edges[0], edges[-1])  # 0.6 may be below the computed edge 0.6
    counts, _, bars = axes.hist(values, edges, color=COLORS[0], edgecolor="white")
    for count, bar, start, end in zip(counts, bars, edges[:-1], edges[1:], strict=True):
        bar.set_url(f"{start:.6g} to {end:.6g}: {count:.0f}")
    axes.axvline(float(np.median(values)), color="black", ls="--")
    axes.yaxis.set_major_locator(MaxNLocator(3, integer=True))
    return figure


def shortened(name: str, letters: int = LETTERS) -> str:
    """Shortens a long name by leaving out its middle."""
    half = letters // 2
    return name if len(name) <= letters else f"{name[: half - 1]}…{name[-half:]}"


def _axes(x: str, y: str, height: float = HEIGHT) -> tuple[Figure, Any]:
    figure = Figure(figsize=(WIDTH / 72, height / 72))
    axes = figure.add_subplot()
    axes.set(xlabel=x, ylabel=y)
    return figure, axes


def _axes_by_name(x: str, names: Sequence[str], height: int) -> tuple[Figure, Any]:
    """Axes with a row of some height for each name, the first on top, and a line at zero."""
    figure, axes = _axes(x, "", height=70 + height * len(names))
    axes.set_yticks(range(len(names)), names, parse_math=False)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.axvline(0, color=GREY, lw=1)
    axes.grid(False, axis="y")
    return figure, axes


def _with_legend(figure: Figure) -> Figure:
    """Adds a legend below the figure, which becomes taller."""
    handles, labels = figure.axes[0].get_legend_handles_labels()
    columns = max(1, 54 // (max(map(len, labels)) + 6))
    figure.legend(
        handles, labels, loc="outside lower center", ncols=columns, columnspacing=1.2, handlelength=1.2, markerscale=1.5
    )
    figure.set_figheight(figure.get_figheight() + (math.ceil(len(labels) / columns) * 16 + 12) / 72)
    return figure
