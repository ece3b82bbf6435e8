"""utils.evaluation.inference: scores that cannot be right. tests/test_single_image_inference.py has the rest."""

from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from utils.evaluation.inference import score_images


class Overflowing:
    """Scores black images 1, all others infinity."""

    crop_size, shorter_side = 16, None

    def score_crops(self, full: Tensor, half: Tensor, reference: Tensor | None = None) -> Tensor:
        dark = full.float().mean(dim=(1, 2, 3, 4)) < 10
        return torch.where(dark, 1.0, torch.inf)

    def percentile(self, score: float) -> float:
        return score / 4


def test_a_score_that_is_not_finite_is_an_error_of_that_image(tmp_path: Path) -> None:
    for name in ("black", "white"):
        Image.new("RGB", (40, 40), name).save(tmp_path / f"{name}.png")
    black, white = score_images(Overflowing(), [tmp_path / "black.png", tmp_path / "white.png"])
    assert (black.value, black.error, black.percentile) == (1.0, "", 0.25)
    assert white.value is None and white.percentile is None and "white.png: the score is not finite" in white.error
