"""An experiment's folder: where a run leaves its files, and whether another run may go on with them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from utils.checkpoint import find_last_checkpoint, load_checkpoint
from utils.config import Config, diff, save_config
from utils.distributed import is_main
from utils.environment import environment
from utils.errors import UserError

EXPERIMENTS = Path("experiments")  # below the working directory
# A resumed run may differ in these: they change where it runs and what it reports, not what it computes.
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


def experiment_folder(name: str) -> Path:
    """experiments/<experiment_name>, below the working directory."""
    return EXPERIMENTS / name


def previous_state(config: Config) -> dict[str, Any] | None:
    """The state from which the experiment goes on; None means from the beginning.

    Raises:
        UserError: the experiment's folder exists and resuming was not asked for, or the configuration differs in keys
            that would make it another run.
    """
    folder = experiment_folder(config.experiment_name)
    if not config.training.resume_training:
        if folder.exists():
            raise UserError(
                f"{folder} exists: go on with that run by {resume_hint(config)}, "
                "or choose another name with --experiment_name"
            )
        return None
    path = find_last_checkpoint(folder / "pretrain")
    if is_main():
        print(f"resuming from {path}" if path else f"{folder} has no checkpoint yet: starting from the beginning")
    if path is None:
        return None
    state = load_checkpoint(path)
    check_same_run(config, state["config"])
    return state


def make_experiment(config: Config) -> None:
    """Makes the experiment's folder, with the configuration in it."""
    folder = experiment_folder(config.experiment_name)
    try:
        (folder / "pretrain").mkdir(parents=True, exist_ok=True)
        save_config(config, folder / "config.yaml")
        (folder / "environment.json").write_text(json.dumps(environment(), indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise UserError(f"{folder}: cannot be written ({error})") from error


def check_same_run(config: Config, before: Mapping[str, Any]) -> None:
    """Refuses to resume where a key differs that changes what is computed; prints the others that differ."""
    differing = diff(Config.from_dict(before), config)
    free = [d for d in differing if any(d[0] == key or d[0].startswith(f"{key}.") for key in MAY_DIFFER)]
    fixed = [d for d in differing if d not in free]
    if fixed:
        changes = ", ".join(f"{key} was {old!r} and is now {new!r}" for key, old, new in fixed)
        raise UserError(
            f"cannot resume {config.experiment_name} under another configuration: {changes}; "
            f"only these may differ: {', '.join(MAY_DIFFER)}"
        )
    for key, old, new in free:
        if is_main() and key != "training.resume_training":
            print(f"{key}: {old!r} before, now {new!r}")


def resume_hint(config: Config) -> str:
    """What to add to the command line to go on with a run."""
    return f"--experiment_name {config.experiment_name} --training.resume_training true"
