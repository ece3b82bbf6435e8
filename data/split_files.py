"""Splits into training, validation and test images: finding, reading, checking and creating them.

Splits are stored in train.npy, val.npy and test.npy: int64 row numbers of the annotation, shape (splits, n), padded
with -1 (published FLIVE splits: shape (n,)). Splits created by this project also have a made_for.json with the number
of rows and a hash of the ordered image names, to check that splits and annotation match.
"""

import hashlib
import io
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from models.errors import UserError
from models.files import check_regular, parsing, write_folder
from utils.runtime.files import locked

Splits = dict[str, list[NDArray[np.int64]]]  # phase -> row numbers of each split, without padding

PHASES = ("train", "val", "test")
FILES = tuple(f"{phase}.npy" for phase in PHASES)
SHIPPED = Path(__file__).resolve().parents[1] / "datasets" / "splits"
RECORD = "made_for.json"
REMEDY = (
    "use the original annotation file, or remove the dataset's folder splits/, if there is one, and run "
    "'python -m data.splits make'"
)
NUM_SPLITS = 10
SEED = 27
VAL_SHARE, TEST_SHARE = 0.1, 0.2
# SHA-256 of the splits that the authors of ARNIQA publish: train.npy, val.npy and test.npy, one after the other.
PUBLISHED = {
    "live": "7303451b043bd9399a1aec6464ffed6e543249c78d39f81590b623a3bc930a5f",
    "csiq": "b6a5fe2e6f57bb6388aff791167857b061b736c6ffeb80a58282e1289fdfd855",
    "tid2013": "ccc33be8e8a53f0170c9916bab26b7909ba27e30b52735d71975aa58e7c9cd4a",
    "kadid10k": "4fd090a4a16ced86ff1fd76a7ecfa0e757b4c50645f3261e92a32c1a5f4b3b69",
    "flive": "8ef1a75ddd31f0147f345af253738c1248b4ada9fba1551c07f102d045500024",
    "spaq": "b4eb4fef257438f1527c560e5a08313c011ccb94b127a607fb825bc2c5ee0860",
    "clive": "5a87b8089c70e63d9244942219daf1c84d7d45b35e24ad4ab97adbe3385992fa",
    "koniq10k": "4d8310e571101be04c63076629017bad95132f34f5b3c6fc192c4bb86411f97d",
}
# The published code has no reader for these, so nothing says in which order its splits number their images.
ORDER_UNKNOWN = ("clive", "koniq10k")


def find_splits(
    name: str, root: Path, names: Sequence[str], references: Sequence[str] | None, create: Callable[[], Splits]
) -> Splits:
    """Finds the splits of a dataset: those in its folder if any, else the shipped ones, else creates new ones.

    New ones are saved in its folder.

    Args:
        name: of the dataset.
        root: its folder.
        names: image names in the order of the annotation.
        references: reference image of each image, or None if the dataset has no references.
        create: creates the new splits.

    Raises:
        UserError: as `load_splits`; or there are too few images for new splits.
    """
    own = root / "splits"
    for folder in (own, SHIPPED / name):
        if has_splits(folder):
            splits = load_splits(folder, names, references)
            if kind_of(name, root) == "published" and name not in ORDER_UNKNOWN:
                # They have no record, but are for the rows that ours are for.
                check_record(SHIPPED / name, names, f"{folder}: the published splits")
            return splits
    splits = create()
    try:
        with locked(own, f"{name}: waiting for another process that creates the splits"):
            if not has_splits(own):
                save_splits(own, splits, names)
                print(f"{name}: created new splits in {own}", file=sys.stderr)
    except UserError as error:  # not fatal: the same splits can be created again from the annotation
        print(f"{name}: created new splits but could not save them ({error})", file=sys.stderr)
    return splits


def kind_of(name: str, root: Path) -> str:
    """Returns the kind of the splits in `root`, determined by the hashes of their files.

    "published" (by the authors of ARNIQA), "shipped" (with this project) or "own" (any others).
    """
    shipped, own = SHIPPED / name, root / "splits"
    digest = _digest(own if has_splits(own) else shipped)
    if digest == PUBLISHED.get(name):
        return "published"
    return "shipped" if digest and digest == _digest(shipped) else "own"


def _digest(folder: Path) -> str:
    content = b"".join((folder / file).read_bytes() for file in FILES if (folder / file).exists())
    return hashlib.sha256(content).hexdigest() if content else ""


def make_splits(
    rows: int,
    references: Sequence[str] | None,
    seed: int = SEED,
    count: int = NUM_SPLITS,
    where: str = "",
) -> Splits:
    """Creates random splits of the reference images, or of the images if `references` is None: 70/10/20.

    `where` begins the message of an error: the folder and a colon.

    Raises:
        UserError: there are fewer than three references or images.
    """
    units = np.arange(rows) if references is None else np.asarray([r.casefold() for r in references])
    names = np.unique(units)
    if len(names) < 3:
        found = f"{len(names)} {'images' if references is None else 'reference images'}"
        raise UserError(f"{where}{found} cannot be split into train, validation and test; at least 3 are needed")
    test, val = (max(1, round(share * len(names))) for share in (TEST_SHARE, VAL_SHARE))
    splits: Splits = {phase: [] for phase in PHASES}
    for split in tqdm(range(count), desc="splits", unit="split", delay=1, disable=None):
        order = np.random.default_rng([seed, split]).permutation(names)
        parts = {"test": order[:test], "val": order[test : test + val], "train": order[test + val :]}
        for phase, part in parts.items():
            splits[phase].append(np.flatnonzero(np.isin(units, part)))
    return splits


def official_split(phases: Sequence[str], where: str = "") -> Splits:
    """Creates one split in which image i is in the phase `phases[i]`; `where` is as for `make_splits`.

    Raises:
        UserError: a phase has no image.
    """
    splits = {phase: [np.flatnonzero(np.asarray(phases) == phase)] for phase in PHASES}
    for phase, (part,) in splits.items():
        if len(part) == 0:
            raise UserError(f"{where}the official split has no {phase} images; get the original annotation files again")
    return splits


def save_splits(folder: Path, splits: Splits, names: Sequence[str]) -> None:
    """Creates a folder with the three split files and made_for.json; after a kill it is complete or absent.

    Args:
        folder: folder of the split files.
        splits: as `make_splits` returns them.
        names: image names in the order of the annotation.

    Raises:
        UserError: the folder has files already, or cannot be written.
    """
    check_empty(folder)

    def fill(inside: Path) -> None:
        record = {"rows": len(names), "names_sha256": names_hash(names)}
        (inside / RECORD).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
        for phase, parts in splits.items():
            longest = max(len(part) for part in parts)
            padded = [np.pad(part, (0, longest - len(part)), constant_values=-1) for part in parts]
            content = io.BytesIO()  # np.save to a file on a full disk writes a part of it and reports no error
            np.save(content, np.array(padded, dtype=np.int64))
            (inside / f"{phase}.npy").write_bytes(content.getvalue())

    write_folder(folder, fill)


def check_empty(folder: Path) -> None:
    """Checks that the folder is empty or absent.

    Raises:
        UserError: it is not an empty folder.
    """
    if has_splits(folder) or (folder.is_dir() and any(folder.iterdir())):
        raise UserError(f"{folder}: is not empty; remove or rename it first")


def has_splits(folder: Path) -> bool:
    """Returns whether the folder has any split file; `load_splits` reports missing ones.

    Raises:
        UserError: it is not a folder, or one of its files is a pipe.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder}: is not a folder; expected a folder with train.npy, val.npy and test.npy")
    files = [folder / name for name in (RECORD, *FILES)]
    for file in files:
        check_regular(file)
    return any(file.exists() for file in files)


def load_splits(folder: Path, names: Sequence[str], references: Sequence[str] | None) -> Splits:
    """Reads splits and checks that they match the dataset.

    Args:
        folder: folder of the split files.
        names: image names in the order of the annotation.
        references: reference image of each image, or None if the dataset has no references.

    Raises:
        UserError: a file is missing or damaged, made_for.json does not match the annotation, a split is empty, a row
            number is out of range or there twice, or an image or a reference is in two phases of one split.
    """
    splits = {phase: _read(folder / f"{phase}.npy") for phase in PHASES}
    check_record(folder, names, f"{folder}: the splits")
    counts = {phase: len(parts) for phase, parts in splits.items()}
    if len(set(counts.values())) > 1:
        raise UserError(f"{folder}: the files have different numbers of splits ({counts}); they must be equal")
    units = names if references is None else [reference.casefold() for reference in references]
    what = "image" if references is None else "reference"
    for split in range(counts["train"]):
        phase_of: dict[str, str] = {}
        for phase in PHASES:
            part = splits[phase][split]
            if part.max() >= len(names):
                raise UserError(
                    f"{folder / phase}.npy: row {part.max()} in split {split}, but the annotation has {len(names)} "
                    "rows; the splits were made for another annotation file"
                )
            for unit in dict.fromkeys(units[row] for row in part):
                if phase_of.setdefault(unit, phase) != phase:
                    raise UserError(
                        f"{folder}: split {split} has {what} {unit} in both {phase_of[unit]} and {phase}; "
                        "the splits were probably made for another order of the annotation"
                    )
    return splits


def names_hash(names: Sequence[str]) -> str:
    """Hashes the ordered image names; ignores case and treats backslashes as slashes."""
    text = "\n".join(name.replace("\\", "/").casefold() for name in names)
    return hashlib.sha256(text.encode()).hexdigest()


def splits_hash(splits: Splits) -> str:
    """Hashes the row numbers and their order, independent of the dtype: 16 hexadecimal digits."""
    text = json.dumps([[part.tolist() for part in splits[phase]] for phase in PHASES])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _read(path: Path) -> list[NDArray[np.int64]]:
    remedy = "a splits folder must have train.npy, val.npy and test.npy; copy or create them again"
    with parsing(path, "a readable split file", remedy), path.open("rb") as file:
        try:
            rows = np.lib.format.read_array(file)
        except MemoryError as error:  # the header may claim any number of rows
            raise ValueError(error) from error
    if rows.ndim not in (1, 2) or rows.dtype.kind not in "iu" or len(rows) == 0:
        raise UserError(f"{path}: found {rows.dtype} of shape {rows.shape}; expected integers of shape (splits, n)")
    parts = [row[row != -1] for row in np.atleast_2d(rows.astype(np.int64))]
    for split, part in enumerate(parts):
        if len(part) == 0:
            raise UserError(f"{path}: split {split} is empty; expected row numbers from 0 on (-1 is padding)")
        if part.min() < 0:
            raise UserError(
                f"{path}: split {split} has the row number {part.min()}; allowed: 0 or more, -1 for padding"
            )
        if not np.diff(np.sort(part)).all():
            raise UserError(f"{path}: split {split} has a row more than once; allowed: once")
    return parts


def check_record(folder: Path, names: Sequence[str], what: str) -> None:
    """Checks that an annotation matches the folder's made_for.json, if there is one.

    Args:
        folder: of made_for.json.
        names: image names in the order of the annotation.
        what: is made for that annotation; begins the message.

    Raises:
        UserError: it is another annotation, or the file is damaged.
    """
    path = folder / RECORD
    if not path.exists():
        return
    with parsing(path, "a readable record", "create the splits again"):
        record = json.loads(path.read_text(encoding="utf-8"))
        rows, expected = record["rows"], record["names_sha256"]
    if rows != len(names):
        raise UserError(f"{what} were made for {rows} rows, but the annotation has {len(names)}; {REMEDY}")
    if expected != names_hash(names):
        raise UserError(f"{what} were made for an annotation with other image names or in another order; {REMEDY}")
