"""Trains the encoder and tests it: python main.py --config config.yaml [--any.key value]."""

import sys

from data import get_dataset
from test import run_test
from train import train
from utils.command import run_command
from utils.config.command_line import parse_command_line
from utils.config.keys import Config
from utils.evaluation.protocol import check_split_sizes
from utils.experiment.resume import resume_hint
from utils.runtime.device import choose_algorithms, resolve_device, tune_malloc
from utils.runtime.distributed import is_rank0, process_group, raise_on_all_ranks
from utils.runtime.signals import Stopped


def check_test_sets(config: Config) -> None:
    """Opens the test sets, so that errors in them end the run before the training."""
    phases = ("train", "val", "test") if config.test.grid_search else ("train", "test")
    for name in config.test.datasets:
        dataset = get_dataset(name, config.data_base_path, config.test.crop_size, config.test.shorter_side)
        check_split_sizes(dataset, phases, config.test.num_splits)
        if config.test.full_reference:
            dataset.references()


def main() -> int:
    tune_malloc()
    config, _ = parse_command_line("Train the encoder with the given configuration, then test it.")
    choose_algorithms(config.deterministic)
    with process_group(resolve_device(config.device), f"resume with {resume_hint(config)}") as device:
        with raise_on_all_ranks():
            check_test_sets(config)
        try:
            train(config, device)
        except Stopped as stopped:
            if is_rank0():
                print(stopped, file=sys.stderr)
            return 128 + stopped.signal_number
        return run_test(config, "scratch", device)


if __name__ == "__main__":
    run_command(main)
