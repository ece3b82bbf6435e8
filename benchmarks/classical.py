"""Tests BRISQUE (Mittal et al., TIP 2012) and NIQE (Mittal et al., SPL 2013) as the encoder is tested.

    pip install brisque niqe opencv-python-headless "numpy<2.3"
    python -m benchmarks.classical --data_base_path DATA --dataset NAME

The packages `brisque` and `niqe` compute 36 features of an image each: 18 at full and 18 at half scale. Those of NIQE
are medians over blocks of 96 pixels, not means, because a few blocks have extreme values. The ridge regression of the
test is fitted to them, on the same splits and with the same search of alpha, after each feature is brought to mean 0
and variance 1 over all images of the dataset. The score that `brisque` computes with a model of its own, not fitted to
the dataset, is shown too. NIQE's own score is not, because its package lacks the model. SROCC and PLCC are medians over
the splits, with their standard deviations.
"""

import argparse
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from skimage.color import rgb2gray
from skimage.transform import rescale
from tqdm import tqdm

from data import get_dataset
from utils.errors import UserError, run_command
from utils.evaluation.protocol import ALPHAS, evaluate
from utils.metrics import plcc, srocc
from utils.regression import RidgePath

Array = NDArray[np.float64]
BLOCK = 96  # side of NIQE's blocks in pixels at full scale


def brisque_functions() -> tuple[Callable[[Array], Array], Callable[[Array], float]]:
    """Two functions: BRISQUE's features (36) of a grey image, H x W in 0..1, and the score of such features.

    A lower score is better.
    """
    import cv2
    from brisque import BRISQUE

    measure = BRISQUE()

    def features(grey: Array) -> Array:
        half = cv2.resize(grey, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_CUBIC)  # as in the package
        found = [measure.calculate_brisque_features(image) for image in (grey, half)]
        return np.array([np.squeeze(value) for value in np.concatenate(found)], np.float64)

    return features, measure.calculate_image_quality_score


def niqe_features(grey: Array) -> Array:
    """NIQE's features (36) of a grey image, H x W in 0..1, with sides of at least 96 pixels."""
    from niqe.main import compute_features, normalize_image

    def of_block(block: Array) -> list[float]:
        try:
            return compute_features(block)
        except (ValueError, ZeroDivisionError):  # the block is flat, or no distribution of NIQE's family fits it
            return [np.nan] * 18

    found = []
    for scale in (1, 2):
        image = normalize_image(rescale(grey * 255, 1 / scale))  # as in the package
        side = BLOCK // scale
        tops, lefts = (range(0, length // BLOCK * side, side) for length in grey.shape)
        blocks = [of_block(image[top : top + side, left : left + side]) for top in tops for left in lefts]
        found.append(np.nanmedian(blocks, axis=0))
    return np.concatenate(found)


def standardised(features: Array) -> Array:
    """N x d features with mean 0 and variance 1; 0 where an image lacks a feature or all have the same."""
    spread = np.nanstd(features, axis=0)
    return np.nan_to_num((features - np.nanmean(features, axis=0)) / np.where(spread > 0, spread, np.inf))


def line(name: str, sroccs: Array, plccs: Array) -> str:
    srocc_part, plcc_part = (f"{np.median(of):.3f} ({np.std(of):.3f})" for of in (sroccs, plccs))
    return f"{name}: SROCC {srocc_part}, PLCC {plcc_part}, {len(sroccs)} split(s)"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.classical", description=__doc__)
    parser.add_argument("--data_base_path", required=True, help="folder that contains the dataset folders")
    parser.add_argument("--dataset", required=True, help="one of the nine datasets, or a folder with labels.csv")
    options = parser.parse_args()
    try:
        brisque_features, brisque_score = brisque_functions()
        import niqe  # noqa: F401
    except ImportError as error:
        raise UserError(f"{error}; run pip install brisque niqe opencv-python-headless 'numpy<2.3'") from error
    dataset = get_dataset(options.dataset, options.data_base_path)
    tests = [dataset.get_split_indices(split, "test") for split in range(dataset.num_splits)]
    of_brisque, of_niqe = [], []
    for i in tqdm(range(len(dataset)), desc="features", unit="image", disable=None):
        grey = rgb2gray(np.asarray(dataset.open_image(i, truncated=[])))
        of_brisque.append(brisque_features(grey))
        of_niqe.append(niqe_features(grey))
    print(f"{dataset.name}, {dataset.splits_kind} splits:")
    for name, features in (("BRISQUE's features", of_brisque), ("NIQE's features", of_niqe)):
        path = RidgePath(standardised(np.array(features))[:, None], dataset.mos)
        scores = evaluate(path, dataset, "test", dataset.num_splits, ALPHAS).scores["global"]
        print(line(f"ridge regression on {name}", scores["srocc"], scores["plcc"]))
    sign = 1 if dataset.mos_type == "dmos" else -1
    given = sign * np.array([brisque_score(features) for features in of_brisque])
    found = np.array([(srocc(given[test], dataset.mos[test]), plcc(given[test], dataset.mos[test])) for test in tests])
    print(line("BRISQUE's own score", *found.T))


if __name__ == "__main__":
    run_command(main)
