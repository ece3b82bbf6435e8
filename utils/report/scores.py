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


def write_scores(path: Path, results: Sequence[Score], model: str, compared_with: str) -> None:
    """Writes the page of these images, the worst first, and prints its path.

    Thumbnails are read one after another, and none is kept. An image whose file is missing or not readable any more has
    none; their number is printed.

    Args:
        path: of the HTML file.
        results: a score or an error of each image, at least one.
        model: says which model and crops the scores are from.
        compared_with: the images that percentiles refer to, and the kind of their scores.

    Raises:
        UserError: the page cannot be written; the file is unchanged.
    """
    scored = sorted((result.value, result.path, result.percentile) for result in results if result.value is not None)
    values = np.array([value for value, *_ in scored])
    folder = _common_folder([result.path for result in results])
    longest, quality = LARGE if len(scored) <= FEW else SMALL
    without = 0

    def name_and_link(image: Path) -> tuple[str, str]:
        return _text(_relative(image, folder)), _link(path.parent, image)

    def cards() -> Iterator[tuple[str, ...]]:
        nonlocal without
        for value, image, percentile in tqdm(scored, desc="thumbnails", unit="image", disable=None):
            picture = thumbnail(image, longest, quality)
            without += not picture
            better = "" if percentile is None else f"better than {percentile:.0f} %"
            yield (*name_and_link(image), f"{value:.3f}", better, picture)

    summary, figure = {}, None
    if scored:
        named = {"median": np.median(values), "mean": values.mean(), "worst": values.min(), "best": values.max()}
        summary = {name: f"{value:.3f}" for name, value in named.items()}
    if len(scored) > 1:
        caption = f"Histogram of the scores from {summary['worst']} to {summary['best']}, with the median (dashed)"
        figure = drawing(caption, histogram, values)
    page = template("scores.html.jinja").stream(
        title=f"Scores of {len(results)} image{'s' if len(results) > 1 else ''}",
        model=_text(model),
        folder=_text(folder),
        count=len(results),
        summary=summary,
        compared_with=compared_with if any(percentile is not None for *_, percentile in scored) else "",
        histogram=figure,
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
