"""CSV file of scores that a later run can continue."""

import csv
import io
import math
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from models.errors import UserError
from models.files import parsing
from utils.evaluation.inference import Score
from utils.runtime.files import GrowingFile

COLUMNS = ["image", "score", "error", "model", "percentile"]
FORMULA = tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")  # the last four are full-width forms of the first four


class ScoreFile(AbstractContextManager):
    """Context manager that appends a row per scored image to a CSV file.

    Args:
        path: output file. Existing scores of the same model are kept and their images are not scored again. Rows with
            errors of `images` are removed, and these images are scored again.
        model: description of the model and crops.
        images: images to score.

    Attributes:
        todo: images that have no score in the file yet.
        failed: number of added rows without a score.

    Raises:
        UserError: the file is not a file of scores, has scores of another model, or cannot be read or written.
    """

    def __init__(self, path: Path, model: str, images: Sequence[Path]) -> None:
        self.model = model
        self.failed = 0
        self._file = GrowingFile(path)
        with parsing(path, "a file of scores", "give another --output"):
            content = path.read_bytes()
            begun = _as_csv([COLUMNS]).startswith(content)  # empty, or cut by a kill
            rows = [] if begun else _rows(content[: content.rfind(b"\n") + 1])  # the last row may be cut too
        others = {row[3] for row in rows} - {model}
        if others:
            raise UserError(f"{path}: has scores of {others.pop()}, not of {model}; give another --output")
        names = {without_formula(image): image for image in images}
        kept = [row for row in rows if not row[2] or row[0] not in names]
        whole = _as_csv([COLUMNS, *kept])
        if whole != content:
            self._file.replace(whole)
        done = {row[0] for row in kept}
        self.todo = [image for name, image in names.items() if name not in done]

    def add(self, result: Score) -> None:
        """Appends the row of one image."""
        self.failed += result.value is None
        score = "" if result.value is None else f"{result.value:.6f}"
        percentile = "" if result.percentile is None else f"{result.percentile:.2f}"
        row = [without_formula(result.path), score, without_formula(result.error), self.model, percentile]
        self._file.append(_as_csv([row]))

    def results(self) -> list[Score]:
        """Returns all rows of the file, including those of earlier runs.

        Raises:
            UserError: a score or a percentile is not a number.
        """
        path = self._file.path
        with parsing(path, "a file of scores"):
            return [
                Score(Path(image), None if error else float(score), error, float(percentile) if percentile else None)
                for image, score, error, _, percentile in _rows(path.read_bytes())
            ]

    def __exit__(self, *_: object) -> None:
        self._file.close()


def read_scores(path: Path) -> dict[str, float]:
    """Reads a file of scores: image, as written in the file -> score; images without a score are left out.

    Raises:
        UserError: the file cannot be read or is not a file of scores.
    """
    with parsing(path, "a file of scores", "give one of single_image_inference.py --output"):
        rows = [row for row in _rows(path.read_bytes()) if not row[2]]
        scores = {image: float(score) for image, score, *_ in rows}
        if len(scores) < len(rows) or not all(map(math.isfinite, scores.values())):
            raise ValueError("an image has two scores, or a score that is not finite")
        return scores


def without_formula(text: Path | str) -> str:
    """Returns text for a CSV file that a spreadsheet does not run as a formula.

    A spreadsheet runs text that starts with a character of `FORMULA`. Such text becomes ./TEXT; for a path, this is the
    same file.
    """
    return f"./{text}" if str(text).startswith(FORMULA) else str(text)


def _rows(content: bytes) -> list[list[str]]:
    """Returns the rows of a file of scores without the header."""
    text = content.decode("utf-8-sig", errors="surrogateescape")
    rows = list(csv.reader(io.StringIO(text, newline="")))
    if rows[:1] != [COLUMNS] or any(len(row) != len(COLUMNS) for row in rows):
        raise ValueError(f"expected the columns {','.join(COLUMNS)}")
    return rows[1:]


def _as_csv(rows: list[list[str]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    return text.getvalue().encode("utf-8", errors="surrogateescape")  # file names may be any bytes
