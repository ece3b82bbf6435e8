"""Train, validation and test splits: read, checked against what they were made for, and made.

A split file is train.npy, val.npy or test.npy: int64, (splits, n) row numbers into the annotation, padded with -1
(FLIVE's is (n,)). Beside ours lies made_for.json: how many rows, and a hash of the ordered image names.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from utils.errors import UserError

Splits = dict[str, list[NDArray[np.int64]]]  # phase -> row numbers of each split, without padding

PHASES = ("train", "val", "test")
SHIPPED = Path(__file__).resolve().parents[1] / "datasets" / "splits"
RECORD = "made_for.json"
NUM_SPLITS = 10
SEED = 27
VAL_SHARE, TEST_SHARE = 0.1, 0.2


def make_splits(rows: int, references: Sequence[str] | None, seed: int = SEED, count: int = NUM_SPLITS) -> Splits:
    """Random splits, 70/10/20 of the reference images where there are such, else of the images.

    Raises:
        UserError: there are fewer than three references or images to share out.
    """
    units = np.arange(rows) if references is None else np.asarray([r.casefold() for r in references])
    names = np.unique(units)
    if len(names) < 3:
        what = "images" if references is None else "reference images"
        raise UserError(f"{len(names)} {what} cannot be split into train, validation and test; at least 3 are needed")
    test, val = (max(1, round(share * len(names))) for share in (TEST_SHARE, VAL_SHARE))
    splits: Splits = {phase: [] for phase in PHASES}
    for split in range(count):
        order = np.random.default_rng([seed, split]).permutation(names)
        parts = {"test": order[:test], "val": order[test : test + val], "train": order[test + val :]}
        for phase, part in parts.items():
            splits[phase].append(np.flatnonzero(np.isin(units, part)))
    return splits


def save_splits(folder: Path, splits: Splits, names: Sequence[str]) -> None:
    """Writes the three files and the record of what they were made for."""
    folder.mkdir(parents=True, exist_ok=True)
    for phase, parts in splits.items():
        longest = max(len(part) for part in parts)
        padded = [np.pad(part, (0, longest - len(part)), constant_values=-1) for part in parts]
        np.save(folder / f"{phase}.npy", np.array(padded, dtype=np.int64))
    record = {"rows": len(names), "names_sha256": names_hash(names)}
    (folder / RECORD).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def has_splits(folder: Path) -> bool:
    """Whether the folder has any of the three files (one that has not all is told by `load_splits`)."""
    return any((folder / f"{phase}.npy").exists() for phase in PHASES)


def load_splits(folder: Path, names: Sequence[str], references: Sequence[str] | None) -> Splits:
    """Splits from a folder, checked against the dataset that they are used for.

    Args:
        names: of the images, in the order of the annotation.
        references: of each image, for a dataset that has them.

    Raises:
        UserError: a file is missing or damaged, the record is of another annotation, a row number is out of range,
            or an image or a reference is in two phases of one split.
    """
    splits = {phase: _read(folder / f"{phase}.npy") for phase in PHASES}
    _check_record(folder, names)
    counts = {phase: len(parts) for phase, parts in splits.items()}
    if len(set(counts.values())) > 1:
        raise UserError(f"{folder}: the files have different numbers of splits: {counts}")
    units = None if references is None else np.asarray([reference.casefold() for reference in references])
    for split in range(counts["train"]):
        seen: dict[object, str] = {}
        for phase in PHASES:
            part = splits[phase][split]
            if len(part) and part.max() >= len(names):
                raise UserError(
                    f"{folder / phase}.npy: row {part.max()} in split {split}, but the annotation has {len(names)} "
                    "rows; the splits were made for another annotation file"
                )
            members = part.tolist() if units is None else np.unique(units[part]).tolist()
            for member in members:
                if seen.setdefault(member, phase) != phase:
                    what = f"image {names[member]}" if units is None else f"reference {member}"
                    raise UserError(
                        f"{folder}: split {split} has {what} in both {seen[member]} and {phase}; "
                        "the annotation has another order than the one that the splits were made for"
                    )
    return splits


def names_hash(names: Sequence[str]) -> str:
    """Of the ordered image names, without case and with forward slashes."""
    text = "\n".join(name.replace("\\", "/").casefold() for name in names)
    return hashlib.sha256(text.encode()).hexdigest()


def _read(path: Path) -> list[NDArray[np.int64]]:
    try:
        rows = np.load(path)
    except FileNotFoundError:
        raise UserError(f"{path}: missing; a splits folder has train.npy, val.npy and test.npy") from None
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"{path}: not a readable split file ({error}); remove it or copy it anew") from error
    if rows.ndim not in (1, 2) or rows.dtype.kind not in "iu":
        raise UserError(f"{path}: integers of shape (splits, n) are expected, not {rows.dtype} of {rows.shape}")
    return [row[row >= 0].astype(np.int64) for row in np.atleast_2d(rows)]


def _check_record(folder: Path, names: Sequence[str]) -> None:
    path = folder / RECORD
    if not path.exists():  # published splits have none; the other checks must do
        return
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        rows, expected = record["rows"], record["names_sha256"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: not a readable record ({error}); make the splits anew") from error
    if rows != len(names):
        raise UserError(
            f"{folder}: the splits were made for {rows} rows, but the annotation has {len(names)}; use the "
            "annotation file that its authors distribute, or make your own with 'python -m data.splits make'"
        )
    if expected != names_hash(names):
        raise UserError(
            f"{folder}: the annotation names other images, or in another order, than the splits were made for; "
            "use the file that its authors distribute, or make your own with 'python -m data.splits make'"
        )
