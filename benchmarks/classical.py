"""A classical no-reference measure on a dataset's test splits, for comparison: BRISQUE (Mittal et al., TIP 2012).

    pip install brisque opencv-python-headless "numpy<2.3"
    python -m benchmarks.classical --data_base_path DATA --dataset NAME

The measure and its trained model are the package's. It is not fitted to the dataset: SROCC is of its scores as they
are (lower is better, so the sign is turned for a MOS); PLCC too, without a mapping.
"""

import argparse

import numpy as np
from tqdm import tqdm

from data import get_dataset
from utils.errors import UserError, run_command
from utils.metrics import plcc, srocc


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.classical", description=__doc__)
    parser.add_argument("--data_base_path", required=True, help="folder that holds the datasets' folders")
    parser.add_argument("--dataset", required=True, help="one of the eight, or a folder with labels.csv")
    options = parser.parse_args()
    try:
        from brisque import BRISQUE
    except ImportError as error:
        raise UserError(f"{error}: pip install brisque opencv-python-headless") from error
    dataset = get_dataset(options.dataset, options.data_base_path)
    measure = BRISQUE(url=False)
    images = tqdm(range(len(dataset)), desc="BRISQUE", unit="image", disable=None)
    scores = np.array([float(measure.score(np.asarray(dataset.open_image(i)))) for i in images])
    scores = scores if dataset.mos_type == "dmos" else -scores
    found = []
    for split in range(dataset.num_splits):
        test = dataset.get_split_indices(split, "test")
        defined = test[np.isfinite(scores[test])]
        found.append(
            (float(srocc(scores[defined], dataset.mos[defined])), float(plcc(scores[defined], dataset.mos[defined])))
        )
    if not np.isfinite(scores).all():
        print(f"{int((~np.isfinite(scores)).sum())} images have no score (constant images): they are left out")
    median = np.median(found, axis=0)
    print(f"BRISQUE on {dataset.name}: SROCC {median[0]:.3f}, PLCC {median[1]:.3f}, medians of {len(found)} splits")


if __name__ == "__main__":
    run_command(main)
