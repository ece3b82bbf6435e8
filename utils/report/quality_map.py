"""A map of an image's local quality: the score of a crop at every position."""

from itertools import product
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from PIL import Image

from utils.evaluation.inference import CropScorer, score_crops
from utils.image import to_pixels
from utils.report.figure_file import save_figure

QUALITY_MAP = "ARNIQA quality map"  # title of the file


def positions(side: int, crop_size: int) -> list[int]:
    """Start positions of half-overlapping crops that cover 0..side; the last one ends at `side`."""
    last = max(0, side - crop_size)
    return [*range(0, last, max(1, crop_size // 2)), last]


def local_scores(
    model: CropScorer, image: Image.Image, half: Image.Image, crop_size: int = 224, batch_size: int = 20
) -> np.ndarray:
    """The quality at each pixel: the mean score of the sliding crops that contain it.

    The score of a position is that of the full-scale crop there and the half-scale crop with the same centre, which is
    moved back into the image if it would reach beyond it.

    Args:
        model: scores the crops.
        image: RGB.
        half: the same at half scale.
        crop_size: c, side of the crops in pixels; they overlap by half.
        batch_size: positions that go through the model together.

    Returns:
        H x W float64.
    """
    c = crop_size

    def crop(source: Image.Image, x: int, y: int) -> torch.Tensor:
        return to_pixels(source.crop((x, y, x + c, y + c)))

    def about(centre: int, side: int) -> int:
        return min(max(0, centre - c // 2), max(0, side - c))

    places = list(product(positions(image.height, c), positions(image.width, c)))
    total, count = np.zeros((image.height, image.width)), np.zeros((image.height, image.width))
    for start in range(0, len(places), batch_size):
        batch = places[start : start + batch_size]
        pairs = [
            torch.stack(
                [
                    crop(image, x, y),
                    crop(half, about((x + c // 2) // 2, half.width), about((y + c // 2) // 2, half.height)),
                ]
            )
            for y, x in batch
        ]
        scores = score_crops(model, torch.stack(pairs).unsqueeze(2))  # one crop an image instead of five
        for (y, x), score in zip(batch, scores.tolist(), strict=True):
            total[y : y + c, x : x + c] += score
            count[y : y + c, x : x + c] += 1
    return total / count


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
