"""Compares the time of the grid search for alpha with scikit-learn: python -m benchmarks.ridge [--datasets NAME ...]

The features are random, with the sizes of TID2013 and KADID-10k, 10 splits and 100 alphas. scikit-learn fits each alpha
separately. Only a few of these fits are run, and their time is extrapolated to all of them.
"""

import argparse
import time

import numpy as np
import torch
from sklearn.linear_model import Ridge
from sklearn.model_selection import GroupShuffleSplit

from benchmarks.harness import benchmark_parser, machine
from utils.command import run_command
from utils.evaluation.feature_file import CROPS
from utils.evaluation.protocol import ALPHAS
from utils.metrics import srocc
from utils.regression import RidgePath, best_alpha
from utils.runtime.device import resolve_device, with_float64

SIZES = {"tid2013": (3000, 25), "kadid10k": (10125, 81)}  # images, references


def make_data(images: int, columns: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns float32 features (images, 5, columns) with norm sqrt(2) and a decaying spectrum, and scores (images,)."""
    rng = np.random.default_rng(0)
    scores = rng.uniform(1, 5, images)
    features = rng.standard_normal((images, CROPS, columns), np.float32)
    direction = rng.standard_normal(columns, np.float32) / 10
    features += scores[:, None, None].astype(np.float32) * direction
    features /= np.sqrt(1 + np.arange(columns, dtype=np.float32))
    features *= np.float32(np.sqrt(2)) / np.linalg.norm(features, axis=2, keepdims=True)
    return features, scores


def compare(name: str, device: torch.device, options: argparse.Namespace) -> None:
    """Prints the times of both searches and the largest difference between their SROCCs on the first split."""
    images, references = SIZES[name][0] // options.shrink, SIZES[name][1]
    features, scores = make_data(images, options.columns)
    reference = np.arange(images) * references // images
    shuffle = GroupShuffleSplit(options.splits, train_size=0.7, test_size=0.1, random_state=0)
    splits = list(shuffle.split(features, groups=reference))
    print(f"{name}: {images} x {CROPS} x {options.columns} float32, {features.nbytes / 1e9:.2f} GB")

    begin = time.perf_counter()
    path = RidgePath(features, scores, device)
    grid = np.array([srocc(path.predict(train, val, ALPHAS), scores[val]) for train, val in splits])
    ours = time.perf_counter() - begin
    print(f"  ridge path: {ours:.1f} s for the full search, alpha {best_alpha(grid, ALPHAS):.4g}")

    train, val = splits[0]
    rows, targets = features[train].reshape(-1, options.columns).astype(np.float64), np.repeat(scores[train], CROPS)
    held_out = features[val].reshape(-1, options.columns).astype(np.float64)
    differences, begin = [], time.perf_counter()
    for index in np.linspace(0, len(ALPHAS) - 1, options.fits).astype(int):
        predicted = Ridge(alpha=ALPHAS[index]).fit(rows, targets).predict(held_out).reshape(-1, CROPS).mean(axis=1)
        differences.append(abs(float(srocc(predicted, scores[val])) - grid[0][index]))
    each, count = (time.perf_counter() - begin) / options.fits, len(ALPHAS) * len(splits)
    extrapolated = f"extrapolated to {each * count / 60:.0f} min for all {count} fits"
    print(f"  scikit-learn: {each:.1f} s per fit ({options.fits} fits), {extrapolated}")
    print(f"  largest difference in SROCC: {max(differences):.1e}")
    print(f"{name}: the ridge path is {each * count / ours:.0f} times faster", flush=True)


def main() -> None:
    parser = benchmark_parser("benchmarks.ridge", __doc__)
    parser.add_argument("--datasets", nargs="+", choices=list(SIZES), default=list(SIZES), help="sizes (default: all)")
    parser.add_argument("--fits", type=int, default=3, help="number of scikit-learn fits (default: %(default)s)")
    parser.add_argument("--splits", type=int, default=10, help="number of splits (default: %(default)s)")
    parser.add_argument("--columns", type=int, default=4096, help="dimension of the features (default: %(default)s)")
    parser.add_argument("--shrink", type=int, default=1, help="divisor of the number of images, for a quick test")
    parser.add_argument("--device", default="cpu", help="compute device (default: %(default)s)")
    options = parser.parse_args()
    device = with_float64(resolve_device(options.device))
    print(machine(device))
    for name in options.datasets:
        compare(name, device, options)


if __name__ == "__main__":
    run_command(main)
