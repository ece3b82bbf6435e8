"""The figures as SVG, and what they show."""

from typing import Any
from xml.etree import ElementTree

import numpy as np
import pandas as pd

from utils.report import figures
from utils.report.svg import svg

NASTY = '<b>&"$x_$^ 图.png'
RNG = np.random.default_rng(0)
POINTS: list[dict[str, Any]] = [
    {"image": f"folder/{i}{NASTY}", "score": 10 * i, "prediction": 40 + i, "group": NASTY if i % 2 else "b"}
    for i in range(8)
]


def test_predictions_have_equal_scales_with_room_round_all_points() -> None:
    axes: Any = figures.predictions_plot(POINTS).axes[0]
    low, high = axes.get_xlim()
    assert (low, high) == axes.get_ylim() and axes.get_aspect() == 1
    assert low < 0 and high > 70 and high - low < 1.2 * 70
    diagonal = axes.lines[0].get_xydata()
    np.testing.assert_array_equal(diagonal[:, 0], diagonal[:, 1])
    one: Any = figures.predictions_plot(POINTS[:1] * 3).axes[0]
    assert one.get_xlim()[0] < one.get_xlim()[1]


def test_types_are_sorted_by_value_and_have_their_number_of_images() -> None:
    rows = [{"group": name, "srocc": srocc, "images": 7} for name, srocc in (("a", 0.2), ("b", -0.3), ("c", 0.9))]
    axes: Any = figures.type_bars(rows).axes[0]
    names = [label.get_text() for label in axes.get_yticklabels()]
    widths = [bar.get_width() for bar in axes.patches]
    assert dict(zip(names, widths, strict=True)) == {"b (7)": -0.3, "a (7)": 0.2, "c (7)": 0.9}
    assert widths == sorted(widths)  # from the bottom to the top
    low, high = axes.get_xlim()
    assert low < -0.3 and high > 0.9


def test_a_drawing_takes_the_colour_of_the_page_and_names_its_points() -> None:
    text = svg(f"caption {NASTY}", figures.predictions_plot, POINTS)
    root = ElementTree.fromstring(text)
    assert root.get("role") == "img" and root.get("aria-label") == f"caption {NASTY}"
    titles = {e.text for e in root.iter() if e.tag.endswith("}title")}
    assert titles == {f"{p['image'][7:]}: true {p['score']:.3f}, predicted {p['prediction']:.3f}" for p in POINTS}
    texts = ["".join(e.itertext()) for e in root.iter() if e.tag.endswith("}text")]
    assert {"true score", "predicted score", NASTY} <= set(texts)
    assert "currentColor" in text and "<script" not in text and "<style" not in text and "<a " not in text


def test_a_drawing_of_a_long_training_is_small() -> None:
    steps = pd.DataFrame({"step": np.arange(100_000), "loss": RNG.normal(size=100_000), "learning_rate": 1e-3})
    for draw in (figures.loss_curve, figures.learning_rate_curve):
        assert len(svg("caption", draw, steps)) < 60_000
    axes: Any = figures.loss_curve(steps).axes[0]
    assert axes.dataLim.ymin == steps["loss"].min() and axes.dataLim.ymax == steps["loss"].max()


def test_long_names_keep_their_ends() -> None:
    assert figures.shortened("a" * 26) == "a" * 26
    short = figures.shortened("the_first_of_many_photographs_1")
    assert len(short) <= 26 and short.startswith("the_first") and short.endswith("graphs_1")
