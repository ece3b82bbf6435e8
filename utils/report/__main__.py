"""Writes the report of an experiment: python -m utils.report --experiment_name NAME."""

if __name__ == "__main__":
    from utils.errors import end_quietly_on_interrupt

    end_quietly_on_interrupt()

from utils.config.command_line import OneLineParser
from utils.errors import UserError, run_command
from utils.experiment.layout import Experiment
from utils.report.page import write_report


def main() -> None:
    parser = OneLineParser(prog="python -m utils.report", description=__doc__)
    parser.add_argument("--experiment_name", required=True, help="of the folder in experiments/")
    parser.add_argument(
        "--eval_type", choices=("scratch", "arniqa"), default="scratch", help="arniqa: the test of the released encoder"
    )
    parser.add_argument("--full_reference", action="store_true", help="of the test with --test.full_reference true")
    arguments = parser.parse_args()
    experiment = Experiment.named(arguments.experiment_name)
    tested = experiment.of(arguments.eval_type)
    if arguments.full_reference:
        tested = tested.full_reference
    empty = not (tested.metrics.exists() or tested.results("json").exists())
    if tested == experiment and empty and experiment.of("arniqa").results("json").exists():
        raise UserError(f"{experiment.folder}: has only a test of the released encoder; add --eval_type arniqa")
    print(write_report(tested))


if __name__ == "__main__":
    run_command(main)
