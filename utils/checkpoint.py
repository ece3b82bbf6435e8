"""Checkpoints of a training run: written whole or not at all, and found again."""

import os
import pickle
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from utils.errors import UserError

LAST = "last_epoch_*.pth"
BEST = "best_epoch_*.pth"


def save_atomic(content: Any, path: Path) -> None:
    """`torch.save` such that `path` holds either its old content or all of the new, even after a power cut.

    Raises:
        UserError: the file cannot be written (disk full, no permission); what was there before is untouched.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            torch.save(content, file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except (OSError, RuntimeError) as error:  # torch.save reports a full disk as a RuntimeError
        with suppress(OSError):
            partial.unlink()
        raise UserError(f"{path}: cannot be written ({error}); the checkpoint before it is whole") from error


def replace_checkpoint(content: Any, path: Path, pattern: str) -> None:
    """Saves `content` and then removes the other files of that pattern: one whole file exists at any moment."""
    save_atomic(content, path)
    for other in path.parent.glob(pattern):
        if other != path:
            other.unlink()


def validated_name(kind: str, epoch: int, srocc: float, plcc: float) -> str:
    """File name of a checkpoint made after validation, `kind` being best or last; `epoch` counts from zero."""
    return f"{kind}_epoch_{epoch}_srocc_{srocc:.3f}_plcc_{plcc:.3f}.pth"


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Content of a last_epoch_*.pth file, on the CPU.

    Raises:
        UserError: the file is damaged or was not written by this project.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, ValueError, KeyError, EOFError, pickle.UnpicklingError) as error:
        raise UserError(
            f"{path}: not a readable checkpoint ({type(error).__name__}); remove it to start again"
        ) from error
    required = {"model_state_dict", "optimizer_state_dict", "scaler_state_dict", "epoch", "step", "config"}
    missing = required - set(content) if isinstance(content, dict) else required
    if missing:
        raise UserError(f"{path}: lacks {', '.join(sorted(missing))}, so no run can be resumed from it")
    return content


def find_last_checkpoint(folder: Path) -> Path | None:
    """The newest last_epoch_*.pth in that folder, or None.

    Two exist only after a kill between writing one and removing the one before it.
    """
    return max(folder.glob(LAST), key=_progress, default=None)


def _progress(path: Path) -> tuple[int, int, int]:
    """Orders names by epoch; within one, a checkpoint made after validation comes last, others by step."""
    match = re.match(r"last_epoch_(\d+)_(?:step_(\d+)|srocc_)", path.name)
    if match is None:
        return (-1, 0, 0)
    return (int(match[1]), int(match[2] is None), int(match[2] or 0))
