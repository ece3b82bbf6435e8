"""Pictures of the manifold for papers: PNG files, drawn by matplotlib."""

import sys
from functools import partial
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from numpy.typing import NDArray

from models.experiment import Experiment
from models.files import write_atomic
from utils.config.keys import VisualizationSection
from utils.evaluation.dataset import ScoredDataset
from utils.evaluation.manifold import Manifold, make_manifold

GROUP_COLORS = colormaps["tab10"].colors  # type: ignore[attr-defined]
LEVELS = 5
KINDS = ("groups", "mos")  # what the colours show


def draw_manifold(
    embeddings: NDArray[np.floating],
    dataset: ScoredDataset,
    settings: VisualizationSection,
    seed: int,
    experiment: Experiment,
    title: str,
) -> bool:
    """Writes manifold.json and its pictures into an experiment's folder, see `make_manifold` and `save_pictures`.

    A failure does not end a run: it prints one line on standard error.

    Returns:
        Whether the pictures were written; False without embeddings.
    """
    if len(embeddings) == 0:
        return False
    try:
        manifold = make_manifold(embeddings, dataset, settings, seed)
        manifold.save(experiment.manifold)
        save_pictures(manifold, experiment, title)
        return True
    except Exception as error:  # the libraries that project and draw raise errors of many kinds
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        print(f"the manifold of {dataset.name} is not drawn: {reason}", file=sys.stderr)
        return False


def opacity(level: int) -> float:
    """Returns the opacity of a point: 0.2 for the mildest level to 1 for the strongest."""
    return min(max(level / LEVELS, 0.2), 1.0)


def group_colors(groups: list[str]) -> dict[str, tuple[float, float, float]]:
    """Assigns a colour to each group, the same for the same set of groups."""
    return {group: GROUP_COLORS[i % len(GROUP_COLORS)] for i, group in enumerate(sorted(set(groups)))}


def save_pictures(manifold: Manifold, experiment: Experiment, title: str) -> None:
    """Saves two pictures per method: coloured by group with opacity by level, and coloured by MOS.

    Raises:
        UserError: a file cannot be written.
    """
    for method in manifold.points:
        for kind in KINDS:
            figure = draw(manifold, method, kind, title)
            write_atomic(experiment.manifold_picture(method, kind), partial(figure.savefig, dpi=150, format="png"))


def draw(manifold: Manifold, method: str, kind: str, title: str) -> Figure:
    """Draws one picture; `kind` is "groups" or "mos"."""
    points = np.asarray(manifold.points[method])
    figure = Figure(figsize=(8, 6.5), layout="constrained")
    axes: Any = figure.add_subplot(projection="3d" if points.shape[1] == 3 else None)
    if kind == "mos":
        drawn = axes.scatter(*points.T, c=manifold.scores, cmap="viridis", s=10)
        figure.colorbar(drawn, ax=axes, label="score", shrink=0.7)
    else:
        groups, alphas = np.asarray(manifold.groups), np.asarray([opacity(level) for level in manifold.levels])
        for group, color in group_colors(manifold.groups).items():
            chosen = groups == group
            rgba = [(*color, alpha) for alpha in alphas[chosen]]
            axes.scatter(*points[chosen].T, c=rgba, s=10, edgecolors="none")
            axes.scatter(*[[]] * points.shape[1], color=color, label=group, s=25)  # for the legend, opaque
        for text in figure.legend(loc="outside lower center", ncols=4, frameon=False).get_texts():
            text.set_parse_math(False)
    axes.set_title(f"{title}, {method} of {len(points)} images of {manifold.dataset}", parse_math=False)
    if points.shape[1] == 2:
        axes.set(xticks=[], yticks=[])
    else:
        axes.set(xticklabels=[], yticklabels=[], zticklabels=[])  # the grid stays, for the depth
    return figure
