"""Checks that datasets are complete: python -m data.check --data_base_path PATH [--datasets NAME ...]."""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tqdm import tqdm

from data import IQA_DATASETS, IQADataset, get_dataset
from data.custom import LABELS
from models.errors import UserError
from utils.command import run_command
from utils.config.command_line import OneLineParser, nonempty_path
from utils.evaluation.protocol import check_split_sizes


@dataclass
class Report:
    """Result of the check of one dataset; `problems` are messages for the user."""

    name: str
    found: bool = True
    rows: int = 0
    missing: int = 0
    unreadable: int = 0
    truncated: int = 0
    scores: str = "-"
    splits: str = "-"
    problems: list[str] = field(default_factory=list)


def check_dataset(name: str, data_base_path: Path) -> Report:
    """Reads the annotation, every image and the splits of a dataset."""
    try:
        dataset = get_dataset(name, data_base_path, with_splits=False)
    except UserError as error:
        return Report(name, found=False, problems=[str(error)])
    report = Report(name, rows=len(dataset), scores=f"{dataset.mos.min():.4g}..{dataset.mos.max():.4g}")
    pixels: dict[int, str] = {}  # number of an image -> hash of its pixels
    for index, path in enumerate(tqdm(dataset.images, desc=name, unit="image", disable=None)):
        try:
            truncated: list[str] = []
            image = dataset.open_image(index, truncated)
            pixels[index] = hashlib.sha256(f"{image.size}".encode() + image.tobytes()).hexdigest()
            report.truncated += len(truncated)
            report.problems += truncated
        except UserError as error:
            if os.path.exists(path):  # noqa: PTH110 - Path.exists fails for a name that is too long
                report.unreadable += 1
                report.problems.append(str(error))
            else:
                report.missing += 1
                if report.missing == 1:
                    report.problems.append(f"{path}: not found (only the first missing image is listed)")
    try:
        dataset = get_dataset(name, data_base_path)
        report.splits = f"{dataset.num_splits} valid"
        report.problems += identical_pictures(dataset, pixels)
        check_split_sizes(dataset, ("train", "val", "test"), dataset.num_splits)
    except UserError as error:
        report.splits = "invalid"
        report.problems.append(str(error))
    return report


def identical_pictures(dataset: IQADataset, pixels: Mapping[int, str]) -> list[str]:
    """Finds the first split in which a training and a test image have the same pixels; returns a message."""
    for split in range(dataset.num_splits):
        train = {pixels[i]: i for i in dataset.get_split_indices(split, "train").tolist() if i in pixels}
        twins = [i for i in dataset.get_split_indices(split, "test").tolist() if pixels.get(i) in train]
        if twins:
            names = f"{dataset.names[train[pixels[twins[0]]]]} and {dataset.names[twins[0]]}"
            return [f"split {split}: {len(twins)} test images are also training images, for example {names}"]
    return []


def datasets_in(base: Path) -> list[str]:
    """Returns the names of the datasets that have a folder, including the user's own."""
    known = [name for name, kind in IQA_DATASETS.items() if (base / kind.folder).is_dir()]
    return known + sorted(path.parent.name for path in base.glob(f"*/{LABELS}"))


def main() -> int:
    parser = OneLineParser(prog="python -m data.check", description=__doc__)
    parser.add_argument(
        "--data_base_path", type=nonempty_path, required=True, help="folder that contains the dataset folders"
    )
    parser.add_argument("--datasets", nargs="+", help="names; default: those that are in the folder")
    arguments = parser.parse_args()
    if not arguments.data_base_path.is_dir():
        raise UserError(
            f"--data_base_path: {arguments.data_base_path} is not a folder; it must contain the dataset folders"
        )
    names = arguments.datasets or datasets_in(arguments.data_base_path)
    if not names:
        folders = ", ".join(kind.folder for kind in IQA_DATASETS.values())
        raise UserError(f"{arguments.data_base_path}: has no dataset; expected {folders} or a folder with a {LABELS}")
    reports = [check_dataset(name, arguments.data_base_path) for name in names]
    row = "{:14s} {:6s} {:>7s} {:>8s} {:>11s} {:>10s} {:>14s}  {}"
    print(row.format("dataset", "found", "rows", "missing", "unreadable", "truncated", "scores", "splits"))
    for r in reports:
        counts = [str(n) if r.found else "-" for n in (r.rows, r.missing, r.unreadable, r.truncated)]
        print(row.format(r.name, "yes" if r.found else "no", *counts, r.scores, r.splits))
    problems = [f"{r.name}: {problem}" for r in reports for problem in r.problems]
    print("", *(problems or ["no problems found"]), sep="\n")
    return int(bool(problems))


if __name__ == "__main__":
    run_command(main)
