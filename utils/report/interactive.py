"""The manifold as an interactive figure by Plotly.

Names from users' data are escaped, because Plotly reads HTML tags in texts.
"""

from html import escape
from typing import Any

import numpy as np
import plotly.graph_objects as go
from markupsafe import Markup

from utils.evaluation.manifold import Manifold
from utils.report.page_parts import figure
from utils.report.pictures import KINDS, group_colors, opacity

AXIS = {"showticklabels": False, "title": "", "zeroline": False}
LAYOUT = {
    "template": "plotly_white",
    "height": 540,
    "margin": {"l": 10, "r": 10, "t": 30, "b": 10},
    "hovermode": "closest",
    "legend": {"orientation": "h", "y": -0.02, "itemsizing": "constant"},
    "scene": {f"{axis}axis": AXIS for axis in "xyz"},
    "xaxis": AXIS,
    "yaxis": AXIS,
}


def manifold_plots(manifold: Manifold) -> dict[str, go.Figure]:
    """Returns all plots by their published names in W&B: T-SNE, MOS_T-SNE, UMAP, MOS_UMAP."""
    return {
        prefix + method.upper(): manifold_plot(manifold, method, kind)
        for method in manifold.points
        for kind, prefix in zip(KINDS, ("", "MOS_"), strict=True)
    }


def manifold_plot(manifold: Manifold, method: str, kind: str) -> go.Figure:
    """Plots the manifold coloured by "groups" or "mos"; hovering shows name, type and level.

    Args:
        manifold: with the points of `method`.
        method: "t-SNE" or "UMAP".
        kind: "groups" or "mos".
    """
    points = np.asarray(manifold.points[method])
    described = zip(manifold.names, manifold.types, manifold.levels, manifold.scores, strict=True)
    texts = np.array(
        [f"{escape(n)}<br>{escape(t)}, level {level}, score {score:.3g}" for n, t, level, score in described]
    )
    plot = go.Figure(layout=LAYOUT)

    def add(chosen: Any, name: str, **marker: Any) -> None:
        coordinates = dict(zip("xyz", points[chosen].T, strict=False))
        scatter, size = (go.Scatter3d, 3) if points.shape[1] == 3 else (go.Scatter, 6)
        trace = scatter(**coordinates, mode="markers", marker={"size": size, **marker}, name=escape(name))
        plot.add_trace(trace.update(text=texts[chosen], hovertemplate="%{text}<extra>%{fullData.name}</extra>"))

    if kind == "mos":
        add(slice(None), "images", color=manifold.scores, colorscale="Viridis", colorbar={"title": "score"})
    else:
        levels, groups = np.asarray(manifold.levels), np.asarray(manifold.groups)
        for group, color in group_colors(manifold.groups).items():
            chosen = np.flatnonzero(groups == group)
            chosen = chosen[np.argsort(-levels[chosen], kind="stable")]  # the legend has the colour of the first
            # Blended with white, because WebGL changes the colours of transparent points.
            strengths = [255 * opacity(level) for level in levels[chosen].tolist()]
            shades = [f"rgb{tuple(round(255 - strength * (1 - c)) for c in color)}" for strength in strengths]
            add(chosen, group, color=shades)
    return plot


def manifold_figure(manifold: Manifold, method: str, kind: str, printed: str, number: int) -> Markup:
    """Returns the HTML of `manifold_plot` with a caption.

    Args:
        manifold: with the points of `method`.
        method: "t-SNE" or "UMAP".
        kind: "groups" or "mos".
        printed: address of a picture that replaces the figure on paper; empty without one.
        number: of the figure on the page. The first one has Plotly's script.
    """
    plot = manifold_plot(manifold, method, kind)
    html = plot.to_html(
        full_html=False, include_plotlyjs=number == 0, div_id=f"manifold-{number}", default_width="100%",
        config={"displaylogo": False, "responsive": True},
    )  # fmt: skip
    shown = "group of distortion" if kind == "groups" else "score"
    caption = f"{method} of {len(manifold.names)} images of {manifold.dataset}, coloured by {shown}"
    content = Markup('<div class="interactive">{}</div>').format(Markup(html))
    if printed:
        content += Markup('<img class="printed" alt="{}" src="{}">').format(caption, printed)
    return figure(caption, content)
