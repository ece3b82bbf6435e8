"""The page of scored images: their thumbnails sorted by score, in one self-contained HTML file."""

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote

import numpy as np
from matplotlib.ticker import MaxNLocator
from tqdm import tqdm

from models.files import check_replaceable, check_suffix, check_writable, write_atomic
from utils.evaluation.inference import Score
from utils.report.page_parts import PAGES, now, templates, thumbnail

FEW = 1000  # images, up to which thumbnails are large
LARGE, SMALL = (320, 80), (160, 70)  # longest side of a thumbnail in pixels, and its JPEG quality
BARS = 24  # of the histogram, at most
NARROWEST = 0.01  # range of the histogram, at least


@dataclass(frozen=True)
class Card:
    """What is shown of an image; `picture` is a data URI, empty if the file is no longer readable."""

    name: str
    link: str
    score: str = ""
    percentile: str = ""
    picture: str = ""
    error: str = ""


@dataclass(frozen=True)
class Histogram:
    """Bars as (left, width, height, text), marks of the axis as (left, text); places and sizes in percent."""

    bars: list[tuple[float, float, float, str]]
    marks: list[tuple[float, str]]
    median: float
    highest: int


def write_scores(path: Path, results: Sequence[Score], model: str, compared_with: str) -> None:
    """Writes the page of these images, the worst first, and prints where it is.

    Thumbnails are read from the image files one after another, and none is kept. Images whose files are missing or not
    readable any more have none, and are counted in what is printed.

    Args:
        path: of the HTML file.
        results: a score or an error of each image, at least one.
        model: says which model and crops the scores are from.
        compared_with: the images that percentiles refer to, and whose scores they have.

    Raises:
        UserError: the page cannot be written; what was there before stays.
    """
    scored = sorted((result.value, result.path, result.percentile) for result in results if result.value is not None)
    failed = [result for result in results if result.value is None]
    values = np.array([value for value, *_ in scored])
    folder = _common_folder([result.path for result in results])
    longest, quality = LARGE if len(scored) <= FEW else SMALL
    without = 0

    def card(image: Path, **more: str) -> Card:
        return Card(_text(_seen_from(folder, image)), _link(path.parent, image), **more)

    def cards() -> Iterator[Card]:
        nonlocal without
        for value, image, percentile in tqdm(scored, desc="thumbnails", unit="image", disable=None):
            picture = thumbnail(image, longest, quality)
            without += not picture
            better = "" if percentile is None else f"better than {percentile:.0f} %"
            yield card(image, score=f"{value:.3f}", percentile=better, picture=picture)

    page = (
        templates()
        .get_template("scores.html.jinja")
        .stream(
            model=_text(model),
            folder=_text(folder),
            written=now(),
            count=len(results),
            summary=_summary(values) if len(values) else {},
            compared_with=compared_with if any(percentile is not None for *_, percentile in scored) else "",
            histogram=histogram(values) if len(values) > 1 else None,
            cards=cards(),
            errors=[card(r.path, error=_text(r.error.removeprefix(f"{r.path}: "))) for r in failed],
        )
    )

    def write(file: BinaryIO) -> None:
        page.dump(file, encoding="utf-8")

    write_atomic(path, write)
    note = f", {without} without a picture: missing or not readable any more" if without else ""
    print(f"{path}: {len(results)} images{note}", file=sys.stderr)


def check_report(path: Path) -> None:
    """Checks that the page can be written, before the images are scored; creates its folder.

    Raises:
        UserError: the suffix is another one, there is a file that is not such a page, or its folder cannot be written.
    """
    check_suffix("--report", path, PAGES)
    check_replaceable("--report", path, b'content="ARNIQA scores"')
    check_writable(path.parent)


def histogram(values: np.ndarray) -> Histogram:
    """Counts of n scores between round numbers."""
    low, high = float(values.min()), float(values.max())
    margin = max(0.0, NARROWEST - (high - low)) / 2
    edges = MaxNLocator(BARS, steps=[1, 2, 5, 10]).tick_values(low - margin, high + margin)
    counts, _ = np.histogram(values.clip(edges[0], edges[-1]), edges)  # 0.6 may be below the computed edge 0.6
    first, width = edges[0], edges[-1] - edges[0]

    def percent(value: float) -> float:
        return round(100 * float(value - first) / width, 3)

    bars = [
        (percent(a), percent(b) - percent(a), 100 * count / counts.max(), f"{a:.6g} to {b:.6g}: {count}")
        for a, b, count in zip(edges[:-1], edges[1:], counts.tolist(), strict=True)
        if count
    ]
    marks = MaxNLocator(6, steps=[1, 2, 5, 10]).tick_values(edges[0], edges[-1])
    inside = [mark for mark in marks if -0.1 <= percent(mark) <= 100.1]
    return Histogram(
        bars, [(percent(m), f"{m:.6g}") for m in inside], percent(float(np.median(values))), int(counts.max())
    )


def _summary(values: np.ndarray) -> dict[str, str]:
    found = {"median": np.median(values), "mean": values.mean(), "worst": values.min(), "best": values.max()}
    return {name: f"{value:.3f}" for name, value in found.items()}


def _common_folder(paths: Sequence[Path]) -> str:
    """The deepest folder that has all files, or "" if they are on several drives of Windows."""
    try:
        return os.path.commonpath([path.absolute().parent for path in paths])
    except ValueError:
        return ""


def _seen_from(folder: Path | str, path: Path) -> str:
    """The path relative to a folder, or the whole path if it is on another drive of Windows."""
    try:
        return Path(os.path.relpath(path, folder)).as_posix()
    except ValueError:
        return str(path.absolute())


def _link(folder: Path, path: Path) -> str:
    """The address of a file for a page in the folder: relative, so that both can be moved together."""
    relative = _seen_from(folder, path)
    return path.absolute().as_uri() if Path(relative).is_absolute() else quote(os.fsencode(relative))


def _text(name: str) -> str:
    """Bytes of a file name that are no UTF-8 are shown as backslash escapes, as on the terminal."""
    return name.encode("utf-8", "backslashreplace").decode()
