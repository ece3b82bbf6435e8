"""Distorted copies of a photo, with PSEUDO-SCORES for use when no human scores are available.

A pseudo-score is a full-reference measure (SSIM) mapped to 1..5. It serves to check that a pipeline runs and learns. It
is not a human score and says nothing about human judgement.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from skimage.metrics import structural_similarity

from models.preprocess import to_tensor
from utils.distortions import DISTORTIONS

Pixels = NDArray[np.uint8]
RANGE = (1.0, 5.0)


def distorted(reference: Pixels, kind: str, level: int, generator: torch.Generator) -> Pixels:
    """Returns a distorted copy of an H x W x 3 photo, with one distortion type at a level from 1 (mildest) to 5."""
    distortion = DISTORTIONS[kind]
    image = distortion(to_tensor(Image.fromarray(reference)), distortion.levels[level - 1], generator)
    return (image * 255).round().byte().permute(1, 2, 0).numpy()


def pseudo_score(reference: Pixels, copy: Pixels) -> float:
    """SSIM of two H x W x 3 images, mapped from [0, 1] to 1..5 (higher is better)."""
    ssim = structural_similarity(reference, copy, channel_axis=2)
    lowest, highest = RANGE
    return lowest + (highest - lowest) * max(0.0, float(ssim))
