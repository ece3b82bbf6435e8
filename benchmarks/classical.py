"""Tests BRISQUE (Mittal et al., TIP 2012) and NIQE (Mittal et al., SPL 2013) on a dataset, beside the encoder.

    pip install brisque niqe opencv-python-headless "numpy<2.3"
    python -m benchmarks.classical --data_base_path DATA --dataset NAME

The packages `brisque` and `niqe` compute 36 features of a whole image each: 18 at full and 18 at half scale. Those of
NIQE are medians over blocks of 96 pixels, not means, because a few blocks have extreme values; blocks of one colour are
left out. As for the encoder's features, a ridge regression is fitted on the splits and with the search of alpha of the
test. Before it, each feature is brought to mean 0 and variance 1 over all images of the dataset, which uses no scores.
A linear regression is weaker than the support vector machine of BRISQUE's paper.

The score that `brisque` computes with a model of its own, not fitted to the dataset, is shown too. NIQE's own score is
not, because its package lacks the model. SROCC and PLCC are medians over the splits, with their standard deviations.
"""

import argparse
import warnings
from collections.abc import Callable
from contextlib import redirect_stdout
from io import StringIO

import numpy as np
from numpy.typing import NDArray
from skimage.color import rgb2gray
from skimage.transform import rescale
from sklearn.preprocessing import StandardScaler
from tqdm import tqdm

from data import get_dataset
from data.iqa_dataset import IQADataset
from models.errors import UserError
from utils.command import run_command
from utils.evaluation.features import check_images, truncated_note
from utils.evaluation.protocol import ALPHAS, check_split_sizes, evaluate
from utils.metrics import MIN_IMAGES, plcc, srocc
from utils.regression import RidgePath

Array = NDArray[np.float64]
BLOCK = 96  # side of NIQE's blocks in pixels at full scale
FLAT = 1e-6  # range of a block of one colour, in the units of its normalised pixels


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
    """NIQE's features (36) of a grey image, H x W in 0..1, with sides of at least 96 pixels; NaN if it is all flat."""
    from niqe.main import compute_features, normalize_image

    def of_block(block: Array) -> list[float]:
        if np.ptp(block) < FLAT:
            return [np.nan] * 18
        try:
            with redirect_stdout(StringIO()):  # the package prints there what it cannot fit
                return compute_features(block)
        except (ValueError, ZeroDivisionError):  # no distribution of NIQE's family fits the block
            return [np.nan] * 18

    full, found = grey * 255, []
    for scale, image in ((1, full), (2, rescale(full, 1 / 2))):  # as in the package
        normalised, side = normalize_image(image), BLOCK // scale
        tops, lefts = (range(0, length // BLOCK * side, side) for length in grey.shape)
        blocks = [of_block(normalised[top : top + side, left : left + side]) for top in tops for left in lefts]
        found.append(np.nanmedian(blocks, axis=0))
    return np.concatenate(found)


def standardised(features: Array) -> Array:
    """N x d features with mean 0 and variance 1; 0 where an image lacks a feature or all have the same."""
    finite = np.where(np.isfinite(features), features, np.nan)
    return np.nan_to_num(StandardScaler().fit_transform(finite))


def ridge_line(name: str, features: Array, dataset: IQADataset) -> str:
    """What a ridge regression on N x d features reaches."""
    path = RidgePath(standardised(features)[:, None], dataset.mos)
    scores = evaluate(path, dataset, "test", dataset.num_splits, ALPHAS).scores["global"]
    lacking = int((~np.isfinite(features)).any(axis=1).sum())
    note = f"; {lacking} of {len(features)} images lack features and get average ones" if lacking else ""
    return line(f"ridge regression on {name}'s features", scores["srocc"], scores["plcc"]) + note


def score_line(name: str, scores: Array, dataset: IQADataset) -> str:
    """What a score itself reaches: (N,), lower is better, not finite where an image has none."""
    found = []
    for split in range(dataset.num_splits):
        test = dataset.get_split_indices(split, "test")
        test = test[np.isfinite(scores[test])]
        if len(test) < MIN_IMAGES:
            continue
        predicted = scores[test] if dataset.mos_type == "dmos" else -scores[test]
        found.append((float(srocc(predicted, dataset.mos[test])), float(plcc(predicted, dataset.mos[test]))))
    lacking = int((~np.isfinite(scores)).sum())
    note = f"; {lacking} of {len(scores)} images have none and are left out" if lacking else ""
    if not found:
        return f"{name}'s own score: no split has {MIN_IMAGES} test images with a score{note}"
    return line(f"{name}'s own score", *np.array(found).T) + note


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
        import niqe.main  # noqa: F401
    except ImportError as error:
        raise UserError(f"{error}; run pip install brisque niqe opencv-python-headless 'numpy<2.3'") from error
    dataset = get_dataset(options.dataset, options.data_base_path)
    check_split_sizes(dataset, ("train", "val", "test"), dataset.num_splits)
    for path, size in zip(dataset.images, check_images(dataset, range(len(dataset))), strict=True):
        if min(size) < BLOCK:
            raise UserError(f"{path}: has {size[0]} x {size[1]} pixels; NIQE needs at least {BLOCK} x {BLOCK}")
    of_brisque, of_niqe, truncated = [], [], []
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore", RuntimeWarning)  # of flat images, which are counted below
        for i in tqdm(range(len(dataset)), desc="features", unit="image", disable=None):
            notes: list[str] = []
            grey = rgb2gray(np.asarray(dataset.open_image(i, notes)))
            truncated += [i] if notes else []
            of_brisque.append(brisque_features(grey))
            of_niqe.append(niqe_features(grey))
    print(f"{dataset.name}, {dataset.splits_kind} splits:", *truncated_note(dataset, truncated))
    print(ridge_line("BRISQUE", np.array(of_brisque), dataset))
    print(ridge_line("NIQE", np.array(of_niqe), dataset))
    print(score_line("BRISQUE", np.array([brisque_score(features) for features in of_brisque]), dataset))


if __name__ == "__main__":
    run_command(main)
