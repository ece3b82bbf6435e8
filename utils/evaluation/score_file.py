"""A CSV file of scores that a later run goes on with.

A spreadsheet takes a text that begins with a character of `FORMULA` for a formula and runs it when the file is opened.
The file of such a name is therefore written as ./NAME, which names the same file.
"""

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path

from models.errors import UserError
from models.files import parsing
from utils.evaluation.inference import Score
from utils.runtime.files import GrowingFile

COLUMNS = ["image", "score", "error", "model", "percentile"]
FORMULA = tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")  # the last four: their full-width forms


class ScoreFile:
    """Appends a row per image as the scores come. Use it as a context.

    Args:
        path: of the file. If it has scores of the same model already, they stay and their images are not scored again;
            errors of `images` are removed and tried again.
        model: says which model and crops the scores are from.
        images: to score.

    Attributes:
        todo: the images that have no score in the file yet.
        failed: rows added without a score.

    Raises:
        UserError: the file is something else, holds scores of another model, or cannot be read or written.
    """

    def __init__(self, path: Path, model: str, images: Sequence[Path]) -> None:
        self.model = model
        self.failed = 0
        self._file = GrowingFile(path)
        try:
            done = self._finished({without_formula(image) for image in images})
        except BaseException:
            self._file.close()
            raise
        self.todo = [image for image in images if without_formula(image) not in done]

    def add(self, result: Score) -> None:
        """Appends the row of one image."""
        self.failed += result.value is None
        score = "" if result.value is None else f"{result.value:.6f}"
        percentile = "" if result.percentile is None else f"{result.percentile:.2f}"
        row = [without_formula(result.path), score, without_formula(result.error), self.model, percentile]
        self._file.append(_as_csv([row]))

    def results(self) -> list[Score]:
        """All rows of the file, also those of earlier runs.

        Raises:
            UserError: a score or a percentile is not a number.
        """
        path = self._file.path
        results = []
        for image, score, error, _, percentile in _lines(path, _content(path))[1:]:
            value = None if error else _number(path, image, score)
            position = _number(path, image, percentile, "percentile") if percentile else None
            results.append(Score(Path(image), value, error, position))
        return results

    def __enter__(self) -> "ScoreFile":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def _finished(self, images: set[str]) -> set[str]:
        """The images that have a row in the file. First drops a row cut short by a kill, and the errors of `images`."""
        path = self._file.path
        content = _content(path)
        whole = content[: content.rfind(b"\n") + 1]
        found = lines = _lines(path, whole)
        if _as_csv([COLUMNS]).startswith(content):  # empty, or cut by a kill
            lines = [COLUMNS]
        if not _are_scores(lines):
            raise UserError(f"{path}: not a file of scores ({','.join(COLUMNS)}); give another --output")
        others = {line[3] for line in lines[1:]} - {self.model}
        if others:
            raise UserError(f"{path}: has scores of {others.pop()}, not of {self.model}; give another --output")
        kept = [line for line in lines[1:] if not line[2] or line[0] not in images]
        if whole != content or [COLUMNS, *kept] != found:
            self._file.replace(_as_csv([COLUMNS, *kept]))
        return {line[0] for line in kept}


def read_scores(path: Path) -> dict[str, float]:
    """The scores in a file of scores, by image as it is written there; images without a score are left out.

    Raises:
        UserError: the file cannot be read, is something else, has no scores, or an image twice.
    """
    lines = _lines(path, _content(path))
    if not _are_scores(lines):
        raise UserError(
            f"{path}: not a file of scores ({','.join(COLUMNS)}); give one of single_image_inference.py --output"
        )
    scores: dict[str, float] = {}
    for image, text, error, *_ in lines[1:]:
        if error:
            continue
        if image in scores:
            raise UserError(f"{path}: has {image} twice; allowed: once")
        scores[image] = _number(path, image, text)
    if not scores:
        raise UserError(f"{path}: has no scores")
    return scores


def _are_scores(lines: list[list[str]]) -> bool:
    """Whether rows are a header and scores."""
    return lines[:1] == [COLUMNS] and all(len(line) == len(COLUMNS) for line in lines)


def _number(path: Path, image: str, text: str, what: str = "score") -> float:
    """The score or percentile of an image in a file.

    Raises:
        UserError: it is not a finite number.
    """
    try:
        score = float(text)
    except ValueError:
        score = math.nan
    if not math.isfinite(score):
        raise UserError(f"{path}: the {what} of {image} is {text!r}; expected a number")
    return score


def _content(path: Path) -> bytes:
    with parsing(path, "a file of scores"):
        return path.read_bytes()


def _lines(path: Path, content: bytes) -> list[list[str]]:
    with parsing(path, "a file of scores"):
        return list(csv.reader(io.StringIO(content.decode("utf-8-sig", errors="surrogateescape"), newline="")))


def without_formula(text: Path | str) -> str:
    """A path, or a message that begins with one, as it is written to a CSV file."""
    return f"./{text}" if str(text).startswith(FORMULA) else str(text)


def _as_csv(rows: list[list[str]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    return text.getvalue().encode("utf-8", errors="surrogateescape")  # names of files may be any bytes
