"""Checkpoints of a training run: `TrainState` is everything that a resumed run needs."""

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from models.errors import UserError, shorten
from models.files import write_atomic
from models.simclr import SimCLR
from models.weights_file import read_weights

PARTS = ("model", "optimizer", "scheduler", "scaler")  # saved by their state_dict
VALUES = ("epoch", "step", "validated", "best", "unreadable")  # saved as they are
INPUTS = ("config", "splits")  # inputs of the run, saved with the state


@dataclass
class TrainState:
    """Everything that a resumed run needs besides the configuration.

    Attributes:
        model, optimizer, scheduler, scaler: the objects of the training step; the scheduler is None for a constant
            learning rate.
        epoch, step: `step` steps of epoch `epoch` (zero-based) are done.
        validated: whether the validation of that epoch is done too.
        best: `epoch`, `srocc`, `plcc` and `encoder_hash` of the best validated epoch; None before the first one.
        unreadable: a message for each training image that could not be read.
    """

    model: SimCLR
    optimizer: torch.optim.Optimizer
    scheduler: torch.optim.lr_scheduler.CosineAnnealingWarmRestarts | None
    scaler: torch.amp.GradScaler
    epoch: int = 0
    step: int = 0
    validated: bool = False
    best: dict[str, Any] | None = None
    unreadable: list[str] = field(default_factory=list)

    @property
    def learning_rate(self) -> float:
        return self.optimizer.param_groups[0]["lr"]

    def advance(self, steps_per_epoch: int) -> None:
        """Counts a step. The scheduler is stepped with the epoch as a fraction (paper section 4.1)."""
        if self.scheduler is not None:
            self.scheduler.step(self.epoch + self.step / steps_per_epoch)
        self.step += 1

    def save(self) -> dict[str, Any]:
        """The content of a checkpoint: a state_dict for each part, and the values."""
        states = {f"{name}_state_dict": part.state_dict() if part is not None else {} for name, part in self._parts()}
        return states | {name: getattr(self, name) for name in VALUES}

    def restore(self, saved: Mapping[str, Any], file: str, steps_per_epoch: int) -> None:
        """Restores what `save` returned into parts that were built with the same configuration.

        If the run began without a gradient scaler (on the CPU, for example), the present one is kept.

        Args:
            saved: content of a checkpoint, see `load_checkpoint`.
            file: name of the checkpoint, for messages.
            steps_per_epoch: largest valid `step`.

        Raises:
            UserError: the content does not fit.
        """
        if saved["step"] > steps_per_epoch:
            raise UserError(
                f"{file}: step: found {saved['step']}; allowed: 0 to {steps_per_epoch}, the steps of an epoch; "
                "the file or the training images were changed"
            )
        for name, part in self._parts():
            state = saved[f"{name}_state_dict"]
            if name == "scaler" and not state and self.scaler.is_enabled():
                print("the run began without a gradient scaler: a new one is used from here on", file=sys.stderr)
                continue
            try:
                if part is not None:
                    part.load_state_dict(state)
            except (RuntimeError, KeyError, ValueError) as error:
                reason = shorten(str(error).partition("\n")[2] or error)  # PyTorch's first line only names the class
                raise UserError(f"{file}: {name}_state_dict does not fit ({reason}); it was changed") from error
        for name in VALUES:
            setattr(self, name, saved[name])

    def _parts(self) -> Iterable[tuple[str, Any]]:
        return ((name, getattr(self, name)) for name in PARTS)


def check_finite(content: Mapping[str, Any], when: str) -> None:
    """Refuses a checkpoint that could not be trained on.

    Raises:
        UserError: a weight is not finite.
    """
    for name, value in content["model_state_dict"].items():
        if not torch.isfinite(value).all():
            raise UserError(
                f"{name} is not finite {when}, so the state is not saved; resume from the last checkpoint, or start "
                "again with a smaller training.lr"
            )


def save_checkpoint(content: Any, path: Path, others: Iterable[Path] = ()) -> None:
    """Saves `content` atomically, then removes the other files, so that a complete one exists at any moment.

    Raises:
        UserError: the file cannot be written; what was there before is untouched.
    """
    write_atomic(path, lambda file: torch.save(content, file))
    for other in others:
        if other != path:
            other.unlink()


def load_checkpoint(path: Path) -> dict[str, Any]:
    """The content of a last_epoch_*.pth file, on the CPU.

    Raises:
        WeightsError: the file is damaged or holds objects of another program.
        UserError: it lacks a part of the state, as one that was not written by this version.
    """
    content = read_weights(path, "the state of a training")
    required = {*(f"{name}_state_dict" for name in PARTS), *VALUES, *INPUTS}
    missing = required - set(content) if isinstance(content, dict) else required
    if missing:
        raise UserError(f"{path}: lacks {', '.join(sorted(missing))}, so no run can be resumed from it")
    return content
