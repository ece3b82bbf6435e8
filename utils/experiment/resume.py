"""Starts a run from the beginning, or resumes it from its last checkpoint if the configuration allows it."""

import json
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

from models.errors import UserError
from models.experiment import Experiment
from models.files import write_text
from utils.config.keys import Config, diff
from utils.config.yaml_file import save_config
from utils.experiment.checkpoint import load_checkpoint
from utils.runtime.environment import run_environment
from utils.runtime.files import locked

SplitsUsed = Mapping[str, tuple[str, str]]  # validation set -> kind of its splits, hash of their rows

# A resumed run may change these keys: they affect where it runs and what it reports, not what it computes.
MAY_DIFFER = (
    "device",
    "data_base_path",
    "training.epochs",
    "training.num_workers",
    "training.log_images_frequency",
    "training.checkpoint_frequency",
    "training.resume_training",
    "validation.visualize",
    "validation.visualization",
    "test",
    "logging",
)
# These keys affect the validation too, so another epoch could become the best.
MUST_NOT_DIFFER = ("test.crop_size", "test.shorter_side", "test.precision")


def load_resume_state(config: Config, locks: ExitStack) -> dict[str, Any] | None:
    """Locks the experiment, so that only one run at a time writes to it, and reads the checkpoint to resume from.

    Args:
        config: configuration of the run.
        locks: keeps the lock until it is closed.

    Returns:
        The content of the checkpoint, with its path as `file`; None to start from the beginning.

    Raises:
        UserError: another run of this experiment is active; the experiment's folder exists and `resume_training` is
            not set; or the configuration differs in a key that changes the result.
    """
    experiment = Experiment.named(config.experiment_name)
    locks.enter_context(locked(experiment.folder))
    if not config.training.resume_training:
        if experiment.folder.exists():
            raise UserError(
                f"{experiment.folder} exists: resume that run with {resume_hint(config)}, "
                "or choose another name with --experiment_name"
            )
        return None
    checkpoints = experiment.last_checkpoints()
    if not checkpoints:
        print(f"{experiment.folder} has no checkpoint yet: starting from the beginning")
        return None
    print(f"resuming from {checkpoints[-1]}")
    saved = load_checkpoint(checkpoints[-1])
    before = Config.from_dict(saved["config"], f"{checkpoints[-1]}: ")
    check_same_run(config, before)
    if saved["epoch"] >= config.training.epochs:
        raise UserError(
            f"training.epochs: found {config.training.epochs}, but {checkpoints[-1]} is of epoch {saved['epoch']} "
            f"(counted from 0); allowed: {saved['epoch'] + 1} or more"
        )
    return saved | {"file": str(checkpoints[-1])}


def check_same_splits(experiment_name: str, before: SplitsUsed, splits: SplitsUsed) -> None:
    """Checks that the splits of the validation sets have not changed since the checkpoint.

    Args:
        experiment_name: name of the experiment, for the message.
        before: splits in the checkpoint.
        splits: current splits.

    Raises:
        UserError: the splits of a validation set have changed.
    """
    for name, (kind, rows) in splits.items():
        kind_before, rows_before = before.get(name, (kind, rows))
        if rows_before != rows:
            raise UserError(
                f"cannot resume {experiment_name}: the splits of {name} were {kind_before} ({rows_before}) and are now "
                f"{kind} ({rows}); restore the old splits, or start another experiment"
            )


def begin_run(config: Config, splits: SplitsUsed) -> None:
    """Writes the configuration and the environment to the experiment's folder, and removes temporary files of a kill.

    Args:
        config: configuration of the run.
        splits: splits of every validation set, written to environment.json too.

    Raises:
        UserError: the folder cannot be written.
    """
    experiment = Experiment.named(config.experiment_name)
    save_config(config, experiment.config)
    of_datasets = {f"splits of {name}": f"{kind} ({rows})" for name, (kind, rows) in splits.items()}
    write_text(experiment.environment, json.dumps(run_environment() | of_datasets, indent=2) + "\n")
    experiment.remove_unfinished_files()


def check_same_run(config: Config, before: Config) -> None:
    """Checks that no key that changes the result differs from the resumed run; prints the other keys that differ.

    Raises:
        UserError: a key that changes the result differs.
    """
    differing = diff(before, config)
    sections = tuple(f"{key}." for key in MAY_DIFFER)
    free = [d for d in differing if d[0] not in MUST_NOT_DIFFER and f"{d[0]}.".startswith(sections)]
    fixed = [d for d in differing if d not in free]
    if fixed:
        changes = ", ".join(f"{key} was {old!r} and is now {new!r}" for key, old, new in fixed)
        raise UserError(
            f"cannot resume {config.experiment_name} with another configuration: {changes}; "
            f"only these may differ: {', '.join(MAY_DIFFER)} (but not {', '.join(MUST_NOT_DIFFER)})"
        )
    for key, old, new in free:
        if key != "training.resume_training":
            print(f"{key}: {old!r} before, now {new!r}")


def resume_hint(config: Config) -> str:
    """Returns the command-line options that resume a run."""
    return f"--experiment_name {config.experiment_name} --training.resume_training true"
