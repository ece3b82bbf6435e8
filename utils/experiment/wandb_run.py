"""The W&B run of an experiment."""

import os
import sys
from collections.abc import Mapping
from typing import Any

from models.errors import UserError
from models.experiment import Experiment
from models.files import check_regular, write_text
from utils.config.keys import Config
from utils.runtime.distributed import is_rank0

MODES = {"online": "online", "run": "online", "offline": "offline", "dryrun": "offline", "disabled": "disabled"}


def wandb_settings(config: Config) -> dict[str, Any] | None:
    """Returns the arguments of `wandb.init` for a run with this configuration, or None without W&B.

    The environment variable WANDB_MODE can only restrict the configuration: "offline" and "disabled" override
    `logging.wandb.online: true`, but "online" does not override `false`.

    Raises:
        UserError: WANDB_MODE has another value.
    """
    where = config.logging.wandb
    if not config.logging.use_wandb:
        return None
    if not os.environ.get("WANDB_MODE"):
        os.environ.pop("WANDB_MODE", None)  # W&B does not treat an empty value as unset
    asked = os.environ.get("WANDB_MODE", "online")
    if asked not in MODES:
        raise UserError(f"WANDB_MODE: found {asked!r}; allowed: {', '.join(MODES)}")
    mode = MODES[asked]
    if mode == "disabled":
        if is_rank0():
            print("W&B is off, because WANDB_MODE is disabled")
        return None
    online = where.online and mode == "online"
    if online and where.project is None:
        if is_rank0():
            print("W&B is off, because logging.wandb.project is not set")
        return None
    return {
        "project": where.project,
        "entity": where.entity,
        "name": config.experiment_name,
        "mode": "online" if online else "offline",
        "config": config.to_dict(),
    }


def start_wandb(experiment: Experiment, settings: Mapping[str, Any]) -> Any:
    """Starts the W&B run of an experiment, or resumes the run with the id in the experiment's folder.

    Returns:
        The run, or None if W&B does not start; the reason is then printed.
    """
    import wandb

    note = experiment.wandb_id
    check_regular(note)
    try:
        run_id = note.read_text(encoding="utf-8").strip() if note.exists() else None
        run = wandb.init(dir=str(experiment.folder.resolve()), id=run_id, resume="allow", **settings)
        write_text(note, run.id + "\n")
        return run
    except (wandb.errors.Error, OSError, ValueError, UserError) as error:
        print(f"W&B did not start ({error}); the run continues without it", file=sys.stderr)
        return None
