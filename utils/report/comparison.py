"""The page of a comparison of experiments."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from models.files import write_text
from utils.report import figures
from utils.report.page import drawn, render_template
from utils.report.page_parts import now


def write_comparison(path: Path, names: Sequence[str], found: pd.DataFrame, notes: Sequence[str]) -> None:
    """Writes the table of `utils.evaluation.comparison.compare`, and a figure of its differences, as one HTML file.

    Raises:
        UserError: the file cannot be written.
    """
    plots = [
        drawn(
            f"Difference to {names[0]}: {metric.upper()}, mean over the splits, with its 95 % confidence interval",
            figures.difference_plot, found, metric,
        )
        for metric in found["metric"].unique()
    ]  # fmt: skip
    text = render_template(
        "comparison.html.jinja", title=f"Comparison of {', '.join(names)}", written=now(), table=found, figures=plots,
        first=names[0], notes=notes,
    )  # fmt: skip
    write_text(path, text)
