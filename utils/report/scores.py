"""The page of scored images: their thumbnails sorted by score, in one self-contained HTML file."""

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote

import numpy as np
from tqdm import tqdm

from models.files import check_replaceable, check_suffix, check_writable, write_atomic
from utils.evaluation.inference import Score
from utils.report.figures import histogram
from utils.report.page_parts import PAGES, drawing, template, thumbnail

FEW = 1000  # images, up to which thumbnails are large
LARGE, SMALL = (320, 80), (160, 70)  # longest side of a thumbnail in pixels, and its JPEG quality


def write_scores(
    path: Path, results: Sequence[Score], model: str, datasets: Sequence[str], kinds: Sequence[str]
) -> None:
    """Writes the page of these images, the worst first, and prints its path.

    With several regressors, the worst image has the lowest mean percentile or, if no percentile is known, the lowest
    score of the first regressor.

    Thumbnails are read one after another, and none is kept. An image whose file is missing or not readable any more has
    none; their number is printed.

    Args:
        path: of the HTML file.
        results: the scores or an error of each image, at least one.
        model: says which model and crops the scores are from.
        datasets: datasets of the regressors.
        kinds: for each dataset, whose scores its percentiles are among, for example "by their scores".

    Raises:
        UserError: the page cannot be written; the file is unchanged.
    """
    scored = sorted((result for result in results if result.values), key=lambda result: (result.values[0], result.path))
    folder = _common_folder([result.path for result in results])
    longest, quality = LARGE if len(scored) <= FEW else SMALL
    without = 0

    def name_and_link(image: Path) -> tuple[str, str]:
        return _text(_relative(image, folder)), _link(path.parent, image)

    def cards() -> Iterator[tuple[object, ...]]:
        nonlocal without
        for result in tqdm(scored, desc="thumbnails", unit="image", disable=None):
            picture = thumbnail(result.path, longest, quality)
            without += not picture
            yield (*name_and_link(result.path), *_texts_and_keys(result), picture)

    page = template("scores.html.jinja").stream(
        title=f"Scores of {len(results)} image{'s' if len(results) > 1 else ''}",
        model=_text(model),
        folder=_text(folder),
        count=len(results),
        several=len(datasets) > 1,
        datasets=datasets,
        compared=_compared(scored, datasets, kinds),
        **_top(scored, len(datasets) > 1),
        cards=cards(),
        errors=[(*name_and_link(r.path), _text(r.error.removeprefix(f"{r.path}: "))) for r in results if r.error],
    )

    def write(file: BinaryIO) -> None:
        page.dump(file, encoding="utf-8")

    write_atomic(path, write)
    note = f", {without} without a picture: missing or not readable any more" if without else ""
    print(f"{path}: {len(results)} images{note}", file=sys.stderr)


def check_report(path: Path) -> None:
    """Checks that the page can be written, before the images are scored; creates its folder.

    Raises:
        UserError: wrong suffix, the file exists and is not such a page, or its folder is not writable.
    """
    check_suffix("--report", path, PAGES)
    check_replaceable("--report", path, b'content="ARNIQA scores"')
    check_writable(path.parent)


def _compared(scored: Sequence[Score], datasets: Sequence[str], kinds: Sequence[str]) -> dict[str, list[str]]:
    """Returns the datasets whose percentiles are known, by the kind of their scores."""
    found: dict[str, list[str]] = {}
    for number, (dataset, kind) in enumerate(zip(datasets, kinds, strict=True)):
        if any(result.percentiles[number] is not None for result in scored):
            found.setdefault(kind, []).append(dataset)
    return found


def _top(scored: Sequence[Score], several: bool) -> dict[str, object]:
    """Returns the `summary` and the `histogram` of the scores or, with several regressors, of the mean percentiles."""
    of, form = ("mean percentile", "{:.0f} %") if several else ("score", "{:.3f}")
    known = [result.agreement[0] for result in scored if result.agreement]
    values = np.array(known if several else [result.values[0] for result in scored])
    if not values.size:
        return {"summary": {}, "histogram": None}
    named = {"median": np.median(values), "mean": values.mean(), "worst": values.min(), "best": values.max()}
    summary = {name: form.format(value) for name, value in named.items()}
    caption = f"Histogram of the {of}s from {summary['worst']} to {summary['best']}, with the median (dashed)"
    return {"summary": summary, "histogram": drawing(caption, histogram, values, of) if len(values) > 1 else None}


def _texts_and_keys(result: Score) -> tuple[str, str, list[str], tuple[float, ...]]:
    """Returns a card's number, what it means, the scores and percentiles in its table, and the keys to sort by.

    The keys are the scores and, if percentiles are known, their mean and their range. One regressor needs no table.
    """
    scores = [f"{value:.3f}" for value in result.values]
    percentiles = ["" if percentile is None else f"{percentile:.0f} %" for percentile in result.percentiles]
    if len(scores) == 1:
        return scores[0], percentiles[0] and f"better than {percentiles[0]}", [], result.values
    cells = [text for pair in zip(scores, percentiles, strict=True) for text in pair]
    if result.agreement is None:
        return "", "", cells, result.values
    mean, low, high = result.agreement
    return f"{mean:.0f} %", f"mean, {low:.0f}–{high:.0f} %", cells, (*result.values, mean, high - low)


def _common_folder(paths: Sequence[Path]) -> str:
    """Returns the deepest common folder, or "" if the files are on several Windows drives."""
    try:
        return os.path.commonpath([path.absolute().parent for path in paths])
    except ValueError:
        return ""


def _relative(path: Path, folder: Path | str) -> str:
    """Returns the path relative to a folder, or the absolute path if it is on another Windows drive."""
    try:
        return Path(os.path.relpath(path, folder)).as_posix()
    except ValueError:
        return str(path.absolute())


def _link(folder: Path, path: Path) -> str:
    """Returns a file's URL relative to the page's folder, so that both can be moved together."""
    relative = _relative(path, folder)
    return path.absolute().as_uri() if Path(relative).is_absolute() else quote(os.fsencode(relative))


def _text(name: str) -> str:
    """Replaces bytes of a file name that are not UTF-8 by backslash escapes, as on the terminal."""
    return name.encode("utf-8", "backslashreplace").decode()
