"""Writes the report of an experiment: python -m utils.report --experiment_name NAME."""

from utils.config.command_line import OneLineParser
from utils.errors import run_command
from utils.experiment.layout import Experiment
from utils.report.page import write_report


def main() -> None:
    parser = OneLineParser(prog="python -m utils.report", description=__doc__)
    parser.add_argument("--experiment_name", required=True, help="of the folder in experiments/")
    parser.add_argument(
        "--eval_type", choices=("scratch", "arniqa"), default="scratch", help="arniqa: the test of the released encoder"
    )
    arguments = parser.parse_args()
    print(write_report(Experiment.named(arguments.experiment_name).of(arguments.eval_type)))


if __name__ == "__main__":
    run_command(main)
