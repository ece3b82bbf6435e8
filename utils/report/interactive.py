"""The interactive figures of the report, by Plotly: the manifold.

Names from users' data are escaped, because Plotly reads HTML tags in texts.
"""

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

import numpy as np
import plotly.graph_objects as go

from utils.evaluation.manifold import Manifold
from utils.report.pictures import group_colors, opacity

HEIGHT = 540


def manifold_plot(manifold: Manifold, method: str, by_score: bool) -> go.Figure:
    """The manifold coloured by group, with opacity by level, or by score; hovering shows name, type and level."""
    points = np.asarray(manifold.points[method])
    result = go.Figure()
    result.update_layout(
        height=HEIGHT,
        margin={"l": 10, "r": 10, "t": 30, "b": 10},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        legend={"orientation": "h", "y": -0.02},
        hovermode="closest",
    )
    texts = np.asarray(
        [
            f"{escape(name)}<br>{escape(kind)}, level {level}, score {score:.3g}"
            for name, kind, level, score in zip(
                manifold.names, manifold.types, manifold.levels, manifold.scores, strict=True
            )
        ]
    )
    if by_score:
        marker = {
            "color": manifold.scores,
            "colorscale": "Viridis",
            "colorbar": {"title": "score"},
            "size": _size(points),
        }
        _scatter(result, points, texts, marker, "images")
    else:
        groups = np.asarray(manifold.groups)
        for group, color in group_colors(manifold.groups).items():
            chosen = groups == group
            shade = _greyed if points.shape[1] == 3 else _rgba  # WebGL shows transparent points in other colours
            rgba = [shade(color, opacity(manifold.levels[i])) for i in np.flatnonzero(chosen)]
            # The legend would take the colour of the first point, so an empty trace gives it an opaque one.
            legend = {"color": _rgba(color, 1), "size": 10}
            _scatter(result, np.full((1, points.shape[1]), None), [""], legend, escape(group), legendgroup=group)
            marker = {"color": rgba, "size": _size(points)}
            _scatter(result, points[chosen], texts[chosen], marker, escape(group), legendgroup=group, showlegend=False)
    hidden = {"showticklabels": False, "title": "", "gridcolor": "rgba(128,128,128,0.25)", "zeroline": False}
    if points.shape[1] == 3:
        result.update_layout(scene={"xaxis": hidden, "yaxis": hidden, "zaxis": hidden})
    else:
        result.update_layout(xaxis=hidden, yaxis=hidden)
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


def _greyed(color: Sequence[float], alpha: float) -> str:
    """The colour on grey instead of on the page."""
    return _rgba([alpha * c + (1 - alpha) * 0.5 for c in color], 1)


def _rgba(color: Sequence[float], alpha: float) -> str:
    red, green, blue = (round(255 * c) for c in color)
    return f"rgba({red},{green},{blue},{alpha:g})"
