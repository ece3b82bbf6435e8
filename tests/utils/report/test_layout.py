"""The pages as a person sees them: at every width, light and dark, after a resize and on paper. See faults.js."""

import re
from pathlib import Path
from typing import Any

import pytest

from models.experiment import Experiment
from tests.utils.evaluation.test_comparison import frame, with_results
from tests.utils.report.examples import EXAMPLES, LONG
from tests.utils.report.test_scores import OF_SEVERAL, gallery, scored_by_several
from utils.evaluation.comparison import compare
from utils.report.__main__ import write_comparison
from utils.report.page import write_report
from utils.report.scores import write_scores

FAULTS = (Path(__file__).parent / "faults.js").read_text(encoding="utf-8")
WIDTHS = (390, 1024, 2560)
PAPER = 718  # an A4 page at 96 pixels per inch, without the browser's margins


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A report of every example, and a comparison."""
    folder = tmp_path_factory.mktemp("pages")
    found = {}
    for make in EXAMPLES:
        experiment = Experiment(folder / make.__name__, make.__name__)
        make(experiment)
        found[make.__name__] = write_report(experiment)
    datasets = ("live", "csiq", LONG)
    names = ("one", "two", f"three_{LONG}")
    tested = [
        with_results(folder, name, **{of: frame(0.3 + i / 2, seed=i) for of in datasets})
        for i, name in enumerate(names)
    ]
    found["comparison"] = folder / "comparison.html"
    write_comparison(found["comparison"], names, compare(tested, seed=0, resamples=50)[0], [])
    found["scores"] = folder / "scores.html"
    images = gallery(folder / "photos")
    write_scores(found["scores"], images, "released weights", ["kadid10k"], ["according to its human ratings"])
    found["several"] = folder / "several.html"
    write_scores(found["several"], scored_by_several(images), "released weights", *OF_SEVERAL)
    return found


def settle(tab: Any) -> list[str]:
    """The faults that remain once the page had time to draw."""
    faults: list[str] = []
    for _ in range(20):
        faults = tab.evaluate(FAULTS)
        if not faults:
            break
        tab.wait_for_timeout(200)
    return faults


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", [*(make.__name__ for make in EXAMPLES), "comparison", "scores", "several"])
def test_a_person_sees_no_fault(browser: Any, pages: dict[str, Path], name: str, scheme: str) -> None:
    found = {}
    widths = WIDTHS if scheme == "light" else WIDTHS[1:2]  # in dark, only the colours differ
    for width, next_width in zip(widths, (*widths[1:], widths[0]), strict=True):
        tab = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        tab.set_default_timeout(200_000)  # of a busy machine
        tab.goto(pages[name].as_uri())
        found[f"{width}"] = settle(tab)
        tab.set_viewport_size({"width": next_width, "height": 900})
        found[f"{width} to {next_width}"] = settle(tab)
        tab.emulate_media(media="print")
        tab.set_viewport_size({"width": PAPER, "height": 900})
        found[f"{width} printed"] = settle(tab)
        if width == WIDTHS[-1]:
            paper = tab.pdf(format="A4", margin={side: "1cm" for side in ("top", "right", "bottom", "left")})
            assert 1 <= len(re.findall(rb"/Type\s*/Page\b", paper)) <= 30
        tab.close()
    assert {when: faults for when, faults in found.items() if faults} == {}
