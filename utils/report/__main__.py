"""Writes the report of an experiment, or compares experiments.

python -m utils.report --experiment_name NAME
python -m utils.report compare NAME NAME ...
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from models.errors import UserError
from models.experiment import COMPARISON, Experiment
from models.files import check_replaceable, check_suffix, write_text
from utils.command import run_command
from utils.config.command_line import OneLineParser, integer, nonempty_path
from utils.evaluation.comparison import compare
from utils.evaluation.results import as_text
from utils.report import figures
from utils.report.page import write_report
from utils.report.page_parts import PAGES, drawing, table, template


def main() -> None:
    parser = OneLineParser(
        prog="python -m utils.report", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--experiment_name", help="name of the folder in experiments/")
    add("--eval_type", choices=("scratch", "arniqa"), default="scratch", help="arniqa: test of the released encoder")
    add("--full_reference", action="store_true", help="test with --test.full_reference true")
    add = parser.add_subparsers(dest="command").add_parser("compare", help="compare tested experiments").add_argument
    add("names", nargs="+", metavar="NAME", help="experiments; the others are compared with the first")
    add("--seed", type=integer(0, 2**32 - 1), default=27, help="seed of the resampling (%(default)s)")
    add("--out", type=nonempty_path, default=COMPARISON, help="path of the page (%(default)s)")
    arguments = parser.parse_args()
    if arguments.command == "compare":
        compare_experiments(arguments.names, arguments.seed, arguments.out)
        return
    if arguments.experiment_name is None:
        raise UserError("--experiment_name: missing; give the folder in experiments/, or compare NAME NAME ...")
    experiment = Experiment.named(arguments.experiment_name)
    tested = experiment.of(arguments.eval_type)
    if arguments.full_reference:
        tested = tested.full_reference
    empty = not (tested.metrics.exists() or tested.results("json").exists())
    if tested == experiment and empty and experiment.of("arniqa").results("json").exists():
        raise UserError(f"{experiment.folder}: has only a test of the released encoder; add --eval_type arniqa")
    print(write_report(tested))


def compare_experiments(names: Sequence[str], seed: int, out: Path) -> None:
    """Prints the table of a comparison and writes its page."""
    if len(names) < 2:
        raise UserError(f"compare: found {len(names)} experiment; give two or more")
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"compare: {name} is given twice; give each experiment once")
    experiments = [Experiment.named(name) for name in names]
    check_suffix("--out", out, PAGES)
    check_replaceable("--out", out, b'content="ARNIQA comparison"')
    compared, notes = compare(experiments, seed)
    write_comparison(out, names, compared, notes)
    print(as_text(compared), *notes, out, sep="\n")


def write_comparison(path: Path, names: Sequence[str], compared: pd.DataFrame, notes: Sequence[str]) -> None:
    """Writes a comparison and a figure of the differences as one HTML file.

    Raises:
        UserError: the file cannot be written.
    """
    plots = [
        drawing(
            f"Difference to {names[0]}: {metric.upper()}, mean over the splits, with its 95 % confidence interval",
            figures.difference_plot, compared, metric,
        )
        for metric in compared["metric"].unique()
    ]  # fmt: skip
    title = f"Comparison of {', '.join(names)}"
    page = template("comparison.html.jinja")
    text = page.render(title=title, table=table(compared), figures=plots, first=names[0], notes=notes)
    write_text(path, text)


if __name__ == "__main__":
    run_command(main)
