"""Writes the report of an experiment, or compares experiments.

python -m utils.report --experiment_name NAME
python -m utils.report compare NAME NAME ...
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from models.errors import UserError
from models.experiment import COMPARISON, Experiment
from models.files import check_replaceable, check_suffix
from utils.command import run_command
from utils.config.command_line import OneLineParser, integer, nonempty_path
from utils.evaluation.comparison import compare, score_kinds, table
from utils.report.comparison import write_comparison
from utils.report.page import write_report
from utils.report.page_parts import PAGES


def main() -> None:
    parser = OneLineParser(
        prog="python -m utils.report", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--experiment_name", help="of the folder in experiments/")
    parser.add_argument(
        "--eval_type", choices=("scratch", "arniqa"), default="scratch", help="arniqa: the test of the released encoder"
    )
    parser.add_argument("--full_reference", action="store_true", help="of the test with --test.full_reference true")
    comparing = parser.add_subparsers(dest="command").add_parser("compare", help="compare tested experiments")
    comparing.add_argument(
        "names", nargs="+", metavar="NAME", help="experiments; the others are compared with the first"
    )
    comparing.add_argument("--seed", type=integer(0, 2**32 - 1), default=27, help="of the resampling (%(default)s)")
    comparing.add_argument("--out", type=nonempty_path, default=COMPARISON, help="file of the page (%(default)s)")
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
    found, left_out = compare(experiments, seed)
    kinds = score_kinds(experiments[0], found["dataset"].unique())
    notes = [f"{name}: {kind}" for name, kind in kinds.items()]
    notes += [f"{name}: left out, because not all of the experiments were tested on it" for name in left_out]
    write_comparison(out, names, found, notes)
    print(table(found), *notes, sep="\n")
    print(out)


if __name__ == "__main__":
    run_command(main)
