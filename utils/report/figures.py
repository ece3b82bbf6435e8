"""The interactive figures of the report, by Plotly.

Names from users' data are escaped, because Plotly reads HTML tags in texts.
"""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from utils.evaluation.manifold import Manifold
from utils.evaluation.protocol import ALPHAS, GLOBAL
from utils.report.pictures import group_colors, opacity

SMOOTHING = 25  # steps in the running mean of the loss
HEIGHT = 380


def figure(x: str, y: str, **layout: Any) -> go.Figure:
    """An empty figure in the style of the report. The page adds a caption and the colour of texts."""
    result = go.Figure()
    result.update_layout(
        height=HEIGHT,
        margin={"l": 60, "r": 15, "t": 25, "b": 50},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        legend={"orientation": "h", "y": -0.2},
        colorway=["#3274b5", "#e0812b", "#3a9a4f", "#c4453c", "#8a63b8", "#8b5e4e", "#d270b4", "#7d7d7d"],
        **layout,
    )
    result.update_xaxes(title=escape(x), gridcolor="rgba(128,128,128,0.25)", zerolinecolor="rgba(128,128,128,0.4)")
    result.update_yaxes(title=escape(y), gridcolor="rgba(128,128,128,0.25)", zerolinecolor="rgba(128,128,128,0.4)")
    return result


def loss_curve(steps: pd.DataFrame) -> go.Figure:
    """Loss of every step and its running mean."""
    result = figure("step", "NT-Xent loss")
    result.add_scattergl(
        x=steps["step"], y=steps["loss"], name="each step", mode="lines", line={"width": 1}, opacity=0.35
    )
    mean = steps["loss"].rolling(SMOOTHING, min_periods=1).mean()
    result.add_scatter(x=steps["step"], y=mean, name=f"mean of {SMOOTHING} steps", mode="lines")
    return result


def learning_rate_curve(steps: pd.DataFrame) -> go.Figure:
    result = figure("step", "learning rate")
    result.add_scatter(x=steps["step"], y=steps["learning_rate"], mode="lines", name="learning rate")
    return result


def validation_curve(validations: pd.DataFrame, datasets: Sequence[str]) -> go.Figure:
    """Validation SROCC of each dataset and their mean, over the epochs."""
    result = figure("epoch", "median SROCC")
    for name in datasets:
        result.add_scatter(
            x=validations["epoch"], y=validations[f"{name}_srocc"], name=escape(name), mode="lines+markers"
        )
    if len(datasets) > 1:
        result.add_scatter(
            x=validations["epoch"], y=validations["srocc"], name="mean", mode="lines+markers", line={"width": 3}
        )
    return result


def predictions_plot(found: Mapping[str, Any]) -> go.Figure:
    """Predicted against true score of the first split's images, coloured by group of distortion."""
    result = figure("true score", "predicted score", hovermode="closest")
    points = found["predictions"]
    groups = sorted({p["group"] or "images" for p in points})
    colors = group_colors(groups)
    for group in groups:
        of = [p for p in points if (p["group"] or "images") == group]
        result.add_scatter(
            x=[p["score"] for p in of],
            y=[p["prediction"] for p in of],
            mode="markers",
            name=escape(group),
            text=[escape(_file_name(p["image"])) for p in of],
            marker={"size": 5, "color": _rgba(colors[group], 0.75)},
            hovertemplate="%{text}<br>true %{x:.3f}, predicted %{y:.3f}<extra>%{fullData.name}</extra>",
        )
    low, high = min(p["score"] for p in points), max(p["score"] for p in points)
    result.add_scatter(
        x=[low, high], y=[low, high], mode="lines", name="equal", line={"dash": "dot", "color": "#888888", "width": 1}
    )
    return result


def type_bars(rows: Sequence[Mapping[str, Any]], dataset: str) -> go.Figure | None:
    """Median SROCC of each type of distortion, with the untrained encoder beside it; None without types."""
    of = [r for r in rows if r["dataset"] == dataset and r["group"] != GLOBAL]
    if not of:
        return None
    names = [escape(str(r["group"])) for r in of]
    bars = {"trained": [r["srocc"] for r in of]}
    if any(r.get("untrained_srocc") is not None for r in of):
        bars["untrained"] = [r.get("untrained_srocc") for r in of]
    result = figure("median SROCC", "", barmode="group", showlegend=len(bars) > 1)
    result.update_layout(height=130 + 14 * len(names) * (1 + len(bars)), legend_y=-0.1)
    result.update_yaxes(autorange="reversed", automargin=True)
    for (name, values), color in zip(bars.items(), ("#3274b5", "#9a9a9a"), strict=False):
        result.add_bar(x=values, y=names, name=name, orientation="h", marker={"color": color})
    return result


def alpha_curve(found: Mapping[str, Any]) -> go.Figure | None:
    """Validation SROCC for each candidate alpha: every split and the median; None without a search."""
    if not found["validation_srocc"]:
        return None
    grid = np.asarray(found["validation_srocc"])
    result = figure("alpha", "validation SROCC")
    result.update_xaxes(type="log")
    for split, row in enumerate(grid):
        result.add_scatter(
            x=ALPHAS, y=row, mode="lines", line={"width": 1, "color": "#9a9a9a"}, opacity=0.5,
            name="each split", legendgroup="splits", showlegend=split == 0, hoverinfo="skip",
        )  # fmt: skip
    result.add_scatter(x=ALPHAS, y=np.median(grid, axis=0), mode="lines", name="median", line={"width": 3})
    result.add_vline(x=found["alpha"], line={"dash": "dot", "color": "#c4453c"})
    return result


def cross_heatmap(cross: Sequence[Mapping[str, Any]]) -> go.Figure:
    """SROCC of fitting on one dataset (row) and testing on another (column)."""
    matrix = pd.DataFrame(cross).pivot(index="fitted_on", columns="tested_on", values="srocc")
    result = figure("tested on", "fitted on")
    result.add_heatmap(
        z=matrix.to_numpy(),
        x=[escape(str(c)) for c in matrix.columns],
        y=[escape(str(i)) for i in matrix.index],
        texttemplate="%{z:.3f}",
        colorscale="Viridis",
        hoverongaps=False,
    )
    return result


def difference_plot(found: pd.DataFrame, metric: str) -> go.Figure:
    """Each experiment's difference to the first one on every dataset, with its confidence interval."""
    of = found[(found["metric"] == metric) & found["difference"].notna()]
    result = figure("dataset", "difference", scattermode="group", showlegend=True)
    for name, rows in of.groupby("experiment", sort=False):
        difference = rows["difference"]
        error = {"type": "data", "array": rows["high"] - difference, "arrayminus": difference - rows["low"]}
        names = [escape(str(dataset)) for dataset in rows["dataset"]]
        result.add_scatter(x=names, y=difference, error_y=error, mode="markers", name=escape(str(name)))
    return result


def manifold_plot(manifold: Manifold, method: str, by_score: bool) -> go.Figure:
    """The manifold coloured by group, with opacity by level, or by MOS; hovering shows name, type and level."""
    points = np.asarray(manifold.points[method])
    result = figure("", "", hovermode="closest")
    texts = np.asarray(
        [
            f"{escape(name)}<br>{escape(kind)}, level {level}, MOS {score:.3g}"
            for name, kind, level, score in zip(
                manifold.names, manifold.types, manifold.levels, manifold.scores, strict=True
            )
        ]
    )
    if by_score:
        marker = {
            "color": manifold.scores,
            "colorscale": "Viridis",
            "colorbar": {"title": "MOS"},
            "size": _size(points),
        }
        _scatter(result, points, texts, marker, "images")
    else:
        groups = np.asarray(manifold.groups)
        for group, color in group_colors(manifold.groups).items():
            chosen = groups == group
            rgba = [_rgba(color, opacity(manifold.levels[i])) for i in np.flatnonzero(chosen)]
            # The legend would take the colour of the first point, so an empty trace gives it an opaque one.
            legend = {"color": _rgba(color, 1), "size": 10}
            _scatter(result, np.full((1, points.shape[1]), None), [""], legend, escape(group), legendgroup=group)
            marker = {"color": rgba, "size": _size(points)}
            _scatter(result, points[chosen], texts[chosen], marker, escape(group), legendgroup=group, showlegend=False)
    hidden = {"showticklabels": False, "title": ""}
    if points.shape[1] == 3:
        result.update_layout(scene={"xaxis": hidden, "yaxis": hidden, "zaxis": hidden}, height=560)
    else:
        result.update_layout(xaxis=hidden, yaxis=hidden, height=520)
    return result


def _scatter(
    result: go.Figure, points: Any, texts: Iterable[str], marker: dict[str, Any], name: str, **more: Any
) -> None:
    options = {**more, "mode": "markers", "name": name, "text": list(texts), "marker": marker}
    options["hovertemplate"] = "%{text}<extra>%{fullData.name}</extra>"
    coordinates = dict(zip("xyz", points.T, strict=False))
    result.add_trace((go.Scatter3d if len(coordinates) == 3 else go.Scatter)(**coordinates, **options))


def _size(points: Any) -> int:
    return 3 if points.shape[1] == 3 else 6


def _rgba(color: Sequence[float], alpha: float) -> str:
    red, green, blue = (round(255 * c) for c in color)
    return f"rgba({red},{green},{blue},{alpha:g})"


def _file_name(path: str) -> str:
    return path.replace("\\", "/").rsplit("/", 1)[-1]
