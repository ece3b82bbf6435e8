"""Creates splits, or fetches those that the authors of ARNIQA publish.

python -m data.splits make --data_base_path PATH --datasets NAME ... [--seed 27] [--num_splits 10] [--out FOLDER]
python -m data.splits published --data_base_path PATH [--datasets NAME ...]
"""

import argparse
import hashlib
import http.client
import urllib.request
from pathlib import Path

from data import IQA_DATASETS, get_dataset, split_files
from data.split_files import FILES, ORDER_UNKNOWN, PHASES, PUBLISHED, check_empty, kind_of, make_splits, save_splits
from models.download import TIMEOUT
from models.errors import UserError
from models.files import write_folder
from utils.command import run_command
from utils.config.command_line import OneLineParser, integer, nonempty_path
from utils.runtime.files import locked

COMMIT = "f60c0f284ae6a28ebccaa5279962956760529572"
ADDRESS = f"https://raw.githubusercontent.com/miccunifi/ARNIQA/{COMMIT}/datasets"
BY_DEFAULT = [name for name in PUBLISHED if name not in ORDER_UNKNOWN]


def main() -> None:
    parser = OneLineParser(prog="python -m data.splits", description="Creates or fetches splits.")
    commands = parser.add_subparsers(dest="command", required=True)
    make = commands.add_parser("make", help="create random splits")
    published = commands.add_parser("published", help="fetch the splits that the authors of ARNIQA publish")
    for command in (make, published):
        help_text = "folder that contains the dataset folders"
        command.add_argument("--data_base_path", type=nonempty_path, required=True, help=help_text)
    make.add_argument("--datasets", nargs="+", required=True, help="dataset names")
    make.add_argument("--seed", type=integer(0, 2**32 - 1), default=split_files.SEED, help="random seed (%(default)s)")
    number = split_files.NUM_SPLITS
    make.add_argument("--num_splits", type=integer(1, 1000), default=number, help="how many (%(default)s)")
    make.add_argument("--out", type=nonempty_path, help="folder for NAME/*.npy (default: each dataset's splits/)")
    published.add_argument(
        "--datasets",
        nargs="+",
        choices=list(PUBLISHED),
        metavar="DATASETS",
        help=f"names of {', '.join(PUBLISHED)}; "
        f"default: those that have a folder, without {' and '.join(ORDER_UNKNOWN)}",
    )
    arguments = parser.parse_args()
    if arguments.command == "make":
        create(arguments)
    else:
        fetch_published(arguments.data_base_path, arguments.datasets)


def create(arguments: argparse.Namespace) -> None:
    """Creates splits with the arguments of `make`."""
    for name in arguments.datasets:
        dataset = get_dataset(name, arguments.data_base_path, with_splits=False)
        folder = arguments.out / name if arguments.out else dataset.root / "splits"
        check_empty(folder)  # before the work
        where = f"{dataset.root}: "
        splits = make_splits(len(dataset), dataset.ref_images, arguments.seed, arguments.num_splits, where=where)
        with locked(folder):
            save_splits(folder, splits, dataset.names)
        sizes = "/".join(str(len(splits[phase][0])) for phase in PHASES)
        print(f"{name}: created {arguments.num_splits} splits ({sizes} train/val/test images) in {folder}")


def fetch_published(base: Path, datasets: list[str] | None) -> None:
    """Fetches the published splits of the datasets, or of those in `BY_DEFAULT` that have a folder in `base`.

    Raises:
        UserError: there is no folder, or it has other splits; or as `fetch`.
    """
    roots = {name: base / IQA_DATASETS[name].folder for name in datasets or BY_DEFAULT}
    missing = [str(root) for root in roots.values() if not root.is_dir()]
    if missing and (datasets or len(missing) == len(roots)):
        raise UserError(f"{', '.join(missing)}: no such folder; it must be there to get the published splits")
    roots = {name: root for name, root in roots.items() if root.is_dir()}
    wanted = {name: root for name, root in roots.items() if kind_of(name, root) != "published"}
    for root in wanted.values():  # all of them before the first is fetched
        check_empty(root / "splits")
    for name, root in roots.items():
        if name in wanted:
            fetch(name, root)
        done = "fetched the published splits to" if name in wanted else "has the published splits already in"
        print(f"{name}: {done} {root / 'splits'}")


def fetch(name: str, root: Path, address: str = ADDRESS) -> None:
    """Puts the published splits of a dataset into `root`/splits, all three files or none.

    Args:
        name: a dataset in `PUBLISHED`.
        root: its folder, which has the same name in the published repository.
        address: under which there are FOLDER/splits/{train,val,test}.npy.

    Raises:
        UserError: a file cannot be fetched, the files have another checksum, or there is something in `root`/splits.
    """
    by_hand = (
        f"try again, or copy train.npy, val.npy and test.npy from datasets/{root.name}/splits of "
        f"https://github.com/miccunifi/ARNIQA at commit {COMMIT} to {root / 'splits'}"
    )
    content = {}
    for file in FILES:
        url = f"{address}/{root.name}/splits/{file}"
        try:
            with urllib.request.urlopen(url, timeout=TIMEOUT) as answer:
                content[file] = answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise UserError(f"{url}: cannot be fetched ({error}); {by_hand}") from error
    found = hashlib.sha256(b"".join(content.values())).hexdigest()
    if found != PUBLISHED[name]:
        raise UserError(
            f"{address}/{root.name}/splits: found SHA-256 {found} of {', '.join(FILES)} together, expected "
            f"{PUBLISHED[name]}; nothing was kept; {by_hand}"
        )

    def fill(folder: Path) -> None:
        for file in FILES:
            (folder / file).write_bytes(content[file])

    with locked(root / "splits"):
        check_empty(root / "splits")  # another process may have been faster
        write_folder(root / "splits", fill)


if __name__ == "__main__":
    run_command(main)
