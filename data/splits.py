"""Creates splits: python -m data.splits make --data_base_path PATH --datasets NAME ... [--seed 27] [--out FOLDER]."""

from pathlib import Path

from data import get_dataset
from data.split_files import NUM_SPLITS, PHASES, RECORD, SEED, has_splits, make_splits, save_splits
from utils.config.command_line import OneLineParser, integer
from utils.errors import UserError, run_command
from utils.runtime.files import locked


def main() -> None:
    parser = OneLineParser(prog="python -m data.splits", description="Creates random splits.")
    parser.add_argument("command", choices=["make"])
    parser.add_argument("--data_base_path", type=Path, required=True, help="folder that contains the dataset folders")
    parser.add_argument("--datasets", nargs="+", required=True, help="dataset names")
    parser.add_argument("--seed", type=integer(0, 2**32 - 1), default=SEED, help="random seed (%(default)s)")
    parser.add_argument("--num_splits", type=integer(1, 1000), default=NUM_SPLITS, help="how many (%(default)s)")
    parser.add_argument("--out", type=Path, help="folder for NAME/*.npy; default: the splits folder of each dataset")
    arguments = parser.parse_args()
    for name in arguments.datasets:
        dataset = get_dataset(name, arguments.data_base_path, with_splits=False)
        folder = arguments.out / name if arguments.out else dataset.root / "splits"
        check_free(folder)
        try:
            splits = make_splits(len(dataset), dataset.ref_images, arguments.seed, arguments.num_splits)
        except UserError as error:
            raise UserError(f"{dataset.root}: {error}") from error
        with locked(folder / RECORD):
            check_free(folder)  # another process may have been faster
            save_splits(folder, splits, dataset.names)
        sizes = "/".join(str(len(splits[phase][0])) for phase in PHASES)
        print(f"{name}: created {arguments.num_splits} splits ({sizes} train/val/test images) in {folder}")


def check_free(folder: Path) -> None:
    if has_splits(folder):
        raise UserError(f"{folder}: has splits already; remove them first, or choose another folder with --out")


if __name__ == "__main__":
    run_command(main)
