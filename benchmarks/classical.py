"""Evaluates BRISQUE (Mittal et al., TIP 2012), a classical no-reference metric, on the test splits of a dataset.

    pip install brisque opencv-python-headless "numpy<2.3"
    python -m benchmarks.classical --data_base_path DATA --dataset NAME [--splits 1]

The package `brisque` provides the metric and its trained model, which is not fitted to the dataset. SROCC and PLCC are
computed directly from its scores, without a nonlinear mapping. A lower BRISQUE score means better quality, so the sign
is reversed if the dataset has a MOS.
"""

import argparse

import numpy as np
from tqdm import tqdm

from data import get_dataset
from utils.errors import UserError, run_command
from utils.metrics import plcc, srocc


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.classical", description=__doc__)
    parser.add_argument("--data_base_path", required=True, help="folder that contains the dataset folders")
    parser.add_argument("--dataset", required=True, help="one of the nine datasets, or a folder with labels.csv")
    parser.add_argument(
        "--splits",
        type=int,
        default=10,
        choices=range(1, 11),
        help="number of test splits to use (default: %(default)s)",
    )
    options = parser.parse_args()
    try:
        from brisque import BRISQUE
    except ImportError as error:
        raise UserError(f"{error}; run pip install brisque opencv-python-headless 'numpy<2.3'") from error
    dataset = get_dataset(options.dataset, options.data_base_path)
    measure = BRISQUE(url=False)
    splits = [dataset.get_split_indices(s, "test") for s in range(min(options.splits, dataset.num_splits))]
    scores = np.full(len(dataset), np.nan)
    for i in tqdm(np.unique(np.concatenate(splits)), desc="BRISQUE", unit="image", disable=None):
        score = float(measure.score(np.asarray(dataset.open_image(i, truncated=[]))))
        scores[i] = score if dataset.mos_type == "dmos" else -score
    found = []
    for test in splits:
        defined = test[np.isfinite(scores[test])]  # a constant image has no score
        if len(defined) < len(test):
            print(f"{len(test) - len(defined)} of {len(test)} test images of a split have no score and are excluded")
        predicted, truth = scores[defined], dataset.mos[defined]
        found.append((float(srocc(predicted, truth)), float(plcc(predicted, truth))))
    median = np.median(found, axis=0)
    print(f"BRISQUE on {dataset.name}: SROCC {median[0]:.3f}, PLCC {median[1]:.3f}, medians of {len(found)} split(s)")


if __name__ == "__main__":
    run_command(main)
