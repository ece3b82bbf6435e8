"""The figures as SVG, and what they show."""

import re
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from utils.report import figures
from utils.report.page_parts import drawing

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
    assert list(zip(names, widths, strict=True)) == [("c (7)", 0.9), ("a (7)", 0.2), ("b (7)", -0.3)]
    low, high = axes.get_xlim()
    assert low < -0.3 and high > 0.9 and axes.yaxis_inverted()


def test_a_drawing_has_a_caption_and_tooltips() -> None:
    text = drawing(f"caption {NASTY}", figures.predictions_plot, POINTS)
    root = ElementTree.fromstring(
        text.replace("<svg", '<svg xmlns:xlink="x"', 1) if "xmlns:xlink" not in text else text
    )
    assert root[0].text == root[1].get("aria-label") == f"caption {NASTY}"
    titles = {e.text for e in root.iter() if e.tag.endswith("title")}
    assert titles == {f"{p['image'][7:]}: true {p['score']:.3f}, predicted {p['prediction']:.3f}" for p in POINTS}
    texts = ["".join(e.itertext()) for e in root.iter() if e.tag.endswith("text")]
    assert {"true score", "predicted score", NASTY} <= set(texts)
    assert "<script" not in text and "<a " not in text


@given(st.lists(st.floats(0, 1), min_size=1, max_size=50))
def test_bars_count_the_scores_between_round_numbers(values: list[float]) -> None:
    axes: Any = figures.histogram(np.array(values), "score").axes[0]
    assert sum(bar.get_height() for bar in axes.patches) == len(values) and len(axes.patches) <= 25
    for bar in axes.patches:
        low, high, count = (float(part) for part in re.split(" to |: ", bar.get_url()))
        assert count == bar.get_height() and high > low
        assert sum(low + 1e-9 < value < high - 1e-9 for value in values) <= count
        assert sum(low - 1e-9 <= value <= high + 1e-9 for value in values) >= count
    assert axes.lines[0].get_xdata()[0] == np.median(values)


def test_a_drawing_of_a_long_training_is_small() -> None:
    steps = pd.DataFrame({"step": np.arange(100_000), "loss": RNG.normal(size=100_000), "learning_rate": 1e-3})
    for draw in (figures.loss_curve, figures.learning_rate_curve):
        assert len(drawing("caption", draw, steps)) < 60_000
    axes: Any = figures.loss_curve(steps).axes[0]
    assert axes.dataLim.ymin == steps["loss"].min() and axes.dataLim.ymax == steps["loss"].max()
