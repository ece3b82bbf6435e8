"""Draws the map of an image's local quality, `ARNIQA.quality_map`."""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from utils.report.figure_file import save_figure

QUALITY_MAP = "ARNIQA quality map"  # title of the file


def save_quality_map(path: str | Path, image: Image.Image, quality: np.ndarray, score: float) -> None:
    """Draws `quality` (H x W) over the image, with a colour bar and the image's score as the title.

    The format follows from the suffix of `path`.

    Raises:
        UserError: the file cannot be written.
    """
    scale = 8 / max(image.size)  # the longer side takes 8 inches
    figure = Figure(figsize=(image.width * scale + 1.5, max(1.5, image.height * scale) + 0.8), layout="constrained")
    axes = figure.subplots()
    axes.imshow(image.convert("L"), cmap="gray", vmin=0, vmax=255)
    painted = axes.imshow(quality, cmap="RdYlGn", alpha=0.45)
    figure.colorbar(painted, ax=axes, label="local quality (higher is better)")
    axes.set_title(f"quality score {score:.4f}")
    axes.set_axis_off()
    save_figure(figure, Path(path), QUALITY_MAP)
