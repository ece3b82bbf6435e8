"""Compares the time and memory of the search for alpha with scikit-learn: python -m benchmarks.ridge

The default is random features with the sizes of TID2013 and KADID-10k, 10 splits and 100 alphas. scikit-learn fits each
alpha separately. Only a few of these fits are run, and their time is extrapolated to all of them.
"""

import argparse
import sys
import time

import numpy as np
import torch
from sklearn.linear_model import Ridge

from utils.command import run_command
from utils.evaluation.protocol import ALPHAS
from utils.metrics import srocc
from utils.regression import RidgePath, best_alpha

SIZES = {"tid2013": (3000, 25), "kadid10k": (10125, 81)}  # images, references
CROPS = 5


def make_data(images: int, columns: int) -> tuple[np.ndarray, np.ndarray]:
    """Float32 features (images, 5, columns) with norm sqrt(2) and a decaying spectrum, and scores (images,)."""
    rng = np.random.default_rng(0)
    scores = rng.uniform(1, 5, images)
    features = np.empty((images, CROPS, columns), np.float32)
    decay = 1 / np.sqrt(1 + np.arange(columns, dtype=np.float32))
    direction = rng.standard_normal(columns, np.float32) / 10
    for i in range(images):
        x = decay * (rng.standard_normal((CROPS, columns), np.float32) + np.float32(scores[i]) * direction)
        features[i] = x / np.linalg.norm(x, axis=1, keepdims=True) * np.float32(np.sqrt(2))
    return features, scores


def make_splits(images: int, references: int, count: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Indices of training (70 %) and validation (10 %) images; the split is by reference."""
    reference = np.arange(images) * references // images
    splits = []
    for seed in range(count):
        order = np.random.default_rng(seed).permutation(references)
        train, val = np.split(order, [round(0.7 * references), round(0.8 * references)])[:2]
        splits.append((np.flatnonzero(np.isin(reference, train)), np.flatnonzero(np.isin(reference, val))))
    return splits


def peak_memory() -> str:
    """Peak memory of this process in GB, if the system reports it."""
    try:
        import resource
    except ImportError:  # Windows
        return "unknown"
    unit = 1 if sys.platform == "darwin" else 1024
    return f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9:.2f} GB"


def run(name: str, images: int, references: int, args: argparse.Namespace) -> float:
    """Prints both times; returns the speed-up of the ridge path."""
    features, scores = make_data(images, args.columns)
    splits = make_splits(images, references, args.splits)
    print(f"{name}: {images} x {CROPS} x {args.columns} float32, {features.nbytes / 1e9:.2f} GB, peak {peak_memory()}")

    start = time.perf_counter()
    path = RidgePath(features, scores, args.device)
    grid = []
    for train, val in splits:
        grid.append(srocc(path.predict(train, val, ALPHAS), scores[val]))
        print(f"  ridge path, split {len(grid)} done after {time.perf_counter() - start:.1f} s", flush=True)
    ours = time.perf_counter() - start
    alpha = best_alpha(np.array(grid), ALPHAS)
    print(f"  ridge path: {ours:.1f} s for the full search, alpha {alpha:.4g}; peak memory {peak_memory()}")

    train, val = splits[0]
    rows, y = features[train].reshape(-1, args.columns).astype(np.float64), np.repeat(scores[train], CROPS)
    held = features[val].reshape(-1, args.columns).astype(np.float64)
    chosen = np.linspace(0, len(ALPHAS) - 1, args.fits).astype(int)
    largest, start = 0.0, time.perf_counter()
    for index in chosen:
        model = Ridge(alpha=ALPHAS[index]).fit(rows, y)
        predicted = model.predict(held).reshape(-1, CROPS).mean(axis=1)
        largest = max(largest, abs(float(srocc(predicted, scores[val])) - grid[0][index]))
    each = (time.perf_counter() - start) / args.fits
    whole = each * len(ALPHAS) * len(splits)
    print(
        f"  scikit-learn: {each:.1f} s per fit ({args.fits} fits), extrapolated to {whole / 60:.0f} min for all "
        f"{len(ALPHAS) * len(splits)} fits; peak memory {peak_memory()}"
    )
    print(f"  largest difference in SROCC: {largest:.1e}")
    return whole / ours


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--datasets", nargs="+", choices=list(SIZES), default=list(SIZES))
    parser.add_argument("--fits", type=int, default=3, help="number of scikit-learn fits (default: 3)")
    parser.add_argument("--splits", type=int, default=10)
    parser.add_argument("--columns", type=int, default=4096, help="dimension of the features (default: 4096)")
    parser.add_argument("--shrink", type=int, default=1, help="divisor of the number of images, for a quick test")
    parser.add_argument("--device", type=torch.device, default="cpu")
    args = parser.parse_args()
    for name in args.datasets:
        images, references = SIZES[name]
        factor = run(name, images // args.shrink, references, args)
        print(f"{name}: the ridge path is {factor:.0f} times faster", flush=True)


if __name__ == "__main__":
    run_command(main)
