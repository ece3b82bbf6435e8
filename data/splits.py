"""Makes splits: python -m data.splits make --data_base_path PATH --datasets NAME ... [--seed 27] [--out FOLDER]."""

import argparse
from pathlib import Path

from data import get_dataset
from data.split_files import NUM_SPLITS, PHASES, SEED, make_splits, save_splits
from utils.errors import UserError, run_command


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m data.splits", description="Makes splits from a seed.")
    parser.add_argument("command", choices=["make"])
    parser.add_argument("--data_base_path", type=Path, required=True, help="folder of the datasets' folders")
    parser.add_argument("--datasets", nargs="+", required=True, help="names of the datasets")
    parser.add_argument("--seed", type=int, default=SEED, help="of the draws (%(default)s)")
    parser.add_argument("--num_splits", type=int, default=NUM_SPLITS, help="how many (%(default)s)")
    parser.add_argument(
        "--out", type=Path, help="folder that gets NAME/*.npy; default: each dataset's own splits folder"
    )
    arguments = parser.parse_args()
    for name in arguments.datasets:
        dataset = get_dataset(name, arguments.data_base_path, with_splits=False)
        splits = make_splits(len(dataset), dataset.ref_images, arguments.seed, arguments.num_splits)
        folder = arguments.out / name if arguments.out else dataset.root / "splits"
        try:
            save_splits(folder, splits, dataset.names)
        except OSError as error:
            raise UserError(f"{folder}: cannot be written ({error})") from error
        sizes = "/".join(str(len(splits[phase][0])) for phase in PHASES)
        print(f"{name}: {arguments.num_splits} splits of {sizes} images in {folder}")


if __name__ == "__main__":
    run_command(main)
