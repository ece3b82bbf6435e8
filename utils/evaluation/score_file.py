"""CSV file of scores that a later run can continue."""

import codecs
import csv
import io
import math
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO

from models.errors import UserError
from models.files import parsing
from utils.evaluation.inference import Score
from utils.runtime.files import GrowingFile

FORMULA = tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")  # the last four are full-width forms of the first four
ONE_REGRESSOR = ["image", "score", "error", "model", "percentile"]
SCORED, FAILED, TAKEN = range(3)  # states of an image; taken: scored in this run, or about to be
NOT_CLOSED = "a quotation mark is not closed"
LONGEST_ROW = 1_000_000  # bytes
AGREEMENT = ["percentile_mean", "percentile_low", "percentile_high"]  # `Score.agreement`


class Columns:
    """Columns of a file of scores: `names` are all, `scores` and `percentiles` those of the regressors in their order.

    Args:
        datasets: datasets of the regressors.
    """

    def __init__(self, datasets: Sequence[str]) -> None:
        self.scores, self.percentiles, self.names = ["score"], ["percentile"], ONE_REGRESSOR
        if len(datasets) > 1:
            self.scores = [f"score_{dataset}" for dataset in datasets]
            self.percentiles = [f"percentile_{dataset}" for dataset in datasets]
            pairs = [name for pair in zip(self.scores, self.percentiles, strict=True) for name in pair]
            self.names = ["image", *pairs, *AGREEMENT, "error", "model"]
        if len(set(self.names)) < len(self.names):  # a dataset called mean, low or high
            twice = Counter(self.names).most_common(1)[0][0]
            raise UserError(f"--output: two columns would be called {twice}; score with these regressors one by one")

    def row(self, result: Score, model: str) -> list[str]:
        """Returns the row of an image."""
        cells = {"image": without_formula(result.path), "error": without_formula(result.error), "model": model}
        if not result.error:
            percentiles = dict(zip(self.percentiles, result.percentiles, strict=True))
            percentiles.update(zip(AGREEMENT, result.agreement or [None] * 3, strict=True))
            cells.update((name, f"{value:.6f}") for name, value in zip(self.scores, result.values, strict=True))
            cells.update((name, f"{value:.2f}") for name, value in percentiles.items() if value is not None)
        return [cells.get(name, "") for name in self.names]

    def numbers(self, row: dict[str, str]) -> tuple[tuple[float, ...], tuple[float | None, ...]]:
        """Returns the scores and percentiles of a row, none for an error; raises a ValueError if one is not finite."""
        if row["error"]:
            return (), ()
        percentiles = (_finite(row[name]) if row[name] else None for name in self.percentiles)
        return tuple(_finite(row[name]) for name in self.scores), tuple(percentiles)


class ScoreFile(AbstractContextManager):
    """Context manager that appends a row per scored image to a CSV file.

    Images and rows are streams: the names are kept in a temporary file, so memory does not grow with their number.

    Args:
        path: output file. Existing scores of the same model are kept and their images are not scored again. Images with
            an error are scored again; the row with the error is removed when another one has been added.
        model: description of the model and crops.
        datasets: datasets of the model's regressors.

    Attributes:
        skipped: number of images of `todo` that are not scored: they have a score already, or come twice.
        added: number of added rows.
        failed: number of added rows without a score.

    Raises:
        UserError: the file is not a file of scores, has scores of another model or other columns, or cannot be read or
            written.
    """

    def __init__(self, path: Path, model: str, datasets: Sequence[str]) -> None:
        self.model, self.columns = model, Columns(datasets)
        self.skipped = self.added = self.failed = 0
        self._rows = 0  # in the file
        self._replaced = False  # whether the file has errors of images with another row
        self._what = f"a file of scores of {' '.join(datasets)}"
        self._file = GrowingFile(path)
        self._names = sqlite3.connect("")  # in memory up to 2 MB, then in a temporary file
        try:
            # row: number of the image's score or, without one, of its last error; -1 if it has no row
            self._sql("CREATE TABLE images (name BLOB PRIMARY KEY, row INTEGER, state INTEGER) WITHOUT ROWID")
            self._continue(path)
        except BaseException:
            self._close()
            raise

    def todo(self, images: Iterable[Path]) -> Iterator[Path]:
        """Yields the images that have no score yet, each once."""
        for image in images:
            name = without_formula(image)
            added = self._sql(
                f"INSERT INTO images VALUES (?, -1, {TAKEN}) ON CONFLICT (name) DO UPDATE SET state = {TAKEN} "
                f"WHERE state = {FAILED}",
                name,
            )
            if added.rowcount:
                yield image
            else:
                self.skipped += 1

    def add(self, results: Sequence[Score]) -> None:
        """Appends rows of images that have no score yet."""
        rows = [self.columns.row(result, self.model) for result in results]
        self._file.append(_as_csv(rows))
        for row, result in zip(rows, results, strict=True):
            self._note(row[0], TAKEN if result.error else SCORED)
            self.failed += bool(result.error)
        self.added += len(rows)

    def results(self) -> list[Score]:
        """Returns all rows of the file, including those of earlier runs."""
        self._remove_replaced()
        with parsing(self._file.path, self._what):
            rows = _rows(self._file.path, self.columns.names)
            return [Score(Path(row["image"]), *self.columns.numbers(row), row["error"]) for row in rows]

    def __exit__(self, kind: object, *_: object) -> None:
        try:
            if kind is None:
                self._remove_replaced()
        finally:
            self._close()

    def _close(self) -> None:
        self._file.close()
        self._names.close()

    def _continue(self, path: Path) -> None:
        """Notes the rows of the file, and removes a last one that was cut by a kill."""
        header = _as_csv([self.columns.names])
        with parsing(path, self._what, "give another --output"):
            with path.open("rb") as file:
                start = file.read(len(header) + 1)
            if header.startswith(start):  # empty, or cut by a kill
                self._file.truncate(0)
                self._file.append(header)
            for row in _rows(path, self.columns.names):
                if row["model"] != self.model:
                    raise UserError(f"{path}: has scores of {row['model']}, not of {self.model}; give another --output")
                self.columns.numbers(row)
                self._note(row["image"], FAILED if row["error"] else SCORED)
            size = sum(map(len, _whole_rows(path)))
            with path.open("rb") as file:
                file.seek(size)
                rest = file.read()
            if _bytes(self.model) in rest[: rest.rfind(b"\n") + 1]:  # it has the end of a row, so it was not cut
                raise ValueError(f"{NOT_CLOSED} after row {self._rows}")
            self._file.truncate(size)

    def _note(self, name: str, state: int) -> None:
        """Notes the next row of the file. A score replaces an error, and an error an earlier error."""
        new = self._sql("INSERT OR IGNORE INTO images VALUES (?, ?, ?)", name, self._rows, state).rowcount
        if not new:
            row, before = self._find(name)
            self._replaced |= row >= 0 and (state, before) != (SCORED, SCORED)
            if before != SCORED or state == SCORED:
                self._sql("INSERT OR REPLACE INTO images VALUES (?, ?, ?)", name, self._rows, state)
        self._rows += 1

    def _find(self, name: str) -> tuple[int, int]:
        """Returns the row and state of an image in the table."""
        row, state = self._sql("SELECT row, state FROM images WHERE name = ?", name).fetchone()
        return row, state

    def _remove_replaced(self) -> None:
        """Removes the errors that another row replaces."""
        if not self._replaced:
            return

        def write(file: BinaryIO) -> None:
            file.write(_as_csv([self.columns.names]))
            for number, row in enumerate(_rows(self._file.path, self.columns.names)):
                if not row["error"] or number == self._find(row["image"])[0]:
                    file.write(_as_csv([list(row.values())]))

        with parsing(self._file.path, self._what):
            self._file.replace(write)
        self._replaced = False

    def _sql(self, command: str, name: str | None = None, *values: int) -> sqlite3.Cursor:
        """Runs a command on the table of names."""
        arguments = [] if name is None else [_bytes(name), *values]
        try:
            return self._names.execute(command, arguments)
        except sqlite3.Error as error:
            raise UserError(f"{self._file.path}: no temporary file for the names of the images ({error})") from error


def read_scores(path: Path) -> dict[str, float]:
    """Reads a file of scores: image, as written in the file -> score; images without a score are left out.

    Raises:
        UserError: the file cannot be read or is not a file of scores of one regressor.
    """
    with parsing(path, "a file of scores of one regressor", "give one of single_image_inference.py --output"):
        rows = [row for row in _rows(path, ONE_REGRESSOR) if not row["error"]]
        scores = {row["image"]: _finite(row["score"]) for row in rows}
        if len(scores) < len(rows):
            raise ValueError("an image has two scores")
        return scores


def without_formula(text: Path | str) -> str:
    """Returns text for a CSV file that a spreadsheet does not run as a formula.

    A spreadsheet runs text that starts with a character of `FORMULA`. Such text becomes ./TEXT; for a path, this is the
    same file.
    """
    return f"./{text}" if str(text).startswith(FORMULA) else str(text)


def _rows(path: Path, columns: list[str]) -> Iterator[dict[str, str]]:
    """Yields the rows of a file of scores, without a last one that was cut.

    Raises:
        ValueError: it has other columns.
    """
    rows = csv.reader(codecs.iterdecode(_whole_rows(path), "utf-8-sig", "surrogateescape"))
    if (found := next(rows, [])) != columns:
        raise ValueError(f"its columns are {','.join(found)}")
    for number, row in enumerate(filter(None, rows), 1):
        if len(row) != len(columns):
            raise ValueError(f"row {number} has {len(row)} values; expected {len(columns)}")
        yield dict(zip(columns, row, strict=True))


def _whole_rows(path: Path) -> Iterator[bytes]:
    """Yields the rows without a last one that was cut; a quoted field may have line breaks.

    Raises:
        ValueError: a quotation mark is not closed, and the rest of the file is not a row that was cut.
    """
    with path.open("rb") as file:
        row, quoted = b"", False
        for line in file:
            row, quoted = row + line, quoted ^ (line.count(b'"') % 2 == 1)
            if line.endswith(b"\n") and not quoted:
                yield row
                row = b""
            elif len(row) > LONGEST_ROW:
                raise ValueError(f"{NOT_CLOSED} at byte {file.tell() - len(row)}")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is not finite")
    return number


def _as_csv(rows: Iterable[Sequence[str]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    return _bytes(text.getvalue())


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", errors="surrogateescape")  # file names may be any bytes
