"""The pages as a person sees them: at every width, light and dark, after a resize and on paper. See faults.js."""

import re
from pathlib import Path
from typing import Any

import pytest

from models.experiment import Experiment
from tests.utils.evaluation.test_comparison import frame, with_results
from tests.utils.report.examples import EXAMPLES, LONG
from utils.evaluation.comparison import compare
from utils.report.comparison import write_comparison
from utils.report.page import write_report

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
@pytest.mark.parametrize("name", [*(make.__name__ for make in EXAMPLES), "comparison"])
def test_a_person_sees_no_fault(browser: Any, pages: dict[str, Path], name: str, scheme: str) -> None:
    found = {}
    widths = WIDTHS if scheme == "light" else (WIDTHS[0], WIDTHS[-1])  # in dark, only the colours differ
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


def test_faults_are_found(browser: Any) -> None:
    """A page that has each of them."""
    tab = browser.new_page(viewport={"width": 400, "height": 400})
    for body, fault in (
        ("<div style='width: 900px; height: 1px'></div>", "the page scrolls sideways"),
        ("<figure style='width: 100px'><svg width='200' height='9'></svg></figure>", "a drawing leaves its card"),
        ("<div class='figures'><figure><figcaption>a</figcaption></figure></div>", "an empty card"),
        ("<p style='width: 30px; overflow-wrap: anywhere'>untrained</p>", "a word is broken: untrained"),
        ("<p>one</p><p style='margin-top: -1.8em'>two</p>", "texts overlap"),
        ("<p style='overflow: hidden; width: 30px; white-space: nowrap'>too long for it</p>", "a text is cut"),
        ("<svg width='300' viewBox='0 0 30 30'><text x='28' y='9' font-size='3'>cut</text></svg>", "a text is cut"),
        ("<svg width='300' viewBox='0 0 900 30'><text x='9' y='20'>tiny</text></svg>", "a text of 5"),
        ("<p style='color: #ddd'>pale</p>", "a text of little contrast"),
        ("<div class='scroll' style='overflow-x: auto'><div style='width: 900px'>x</div></div>", "a table is wide"),
        ("<figure style='height: 40px'><svg></svg></figure><figure style='margin-top: -40px'><svg></svg></figure>",
         "cards overlap"),
    ):  # fmt: skip
        tab.set_content(f"<body style='background: white'>{body}</body>")
        assert any(line.startswith(fault) for line in tab.evaluate(FAULTS)), (fault, tab.evaluate(FAULTS))
    tab.set_content("<body style='background: white'><p>nothing</p></body>")
    assert tab.evaluate(FAULTS) == []
    tab.close()
