"""Figures that a command writes to a file of the user's choice. The file's title names the command."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from models.files import check_replaceable, check_suffix, write_atomic

SUFFIXES = (".png", ".pdf", ".svg")  # formats whose metadata have a title
QUALITY_MAP = "ARNIQA quality map"  # title of the file


def check_figure(option: str, path: Path, title: str) -> None:
    """Checks that `save_figure` may write to `path`; see `check_suffix`, `check_replaceable`."""
    check_suffix(option, path, SUFFIXES)
    check_replaceable(option, path, title.encode())


def save_figure(figure: Figure, path: Path, title: str, **options: Any) -> None:
    """Writes a figure in the format of the suffix.

    Args:
        figure: a matplotlib figure.
        path: of the file.
        title: goes to the file's metadata.
        options: of `Figure.savefig`.

    Raises:
        UserError: the file cannot be written.
    """
    kind = path.suffix[1:].lower()
    write_atomic(path, lambda file: figure.savefig(file, format=kind, metadata={"Title": title}, **options))


def save_quality_map(path: Path, image: Image.Image, quality: np.ndarray, score: float) -> None:
    """Draws `ARNIQA.quality_map` (H x W) over the image, with a colour bar and the image's score as the title.

    Raises:
        UserError: the file cannot be written.
    """
    scale = 8 / max(image.size)  # the longer side has 8 inches
    figure = Figure(figsize=(image.width * scale + 1.5, max(1.5, image.height * scale) + 0.8), layout="constrained")
    axes = figure.subplots()
    axes.imshow(image.convert("L"), cmap="gray", vmin=0, vmax=255)
    painted = axes.imshow(quality, cmap="RdYlGn", alpha=0.45)
    figure.colorbar(painted, ax=axes, label="local quality (higher is better)")
    axes.set_title(f"quality score {score:.4f}")
    axes.set_axis_off()
    save_figure(figure, path, QUALITY_MAP)
