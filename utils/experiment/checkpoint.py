"""Checkpoints of a training run: what is in one, writing it, and reading it back."""

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from models.errors import UserError
from models.files import write_atomic
from models.weights_file import read_weights

PARTS = ("model", "optimizer", "scheduler", "scaler")  # saved by their state_dict
VALUES = ("epoch", "step", "validated", "best", "unreadable")  # saved as they are


@dataclass
class TrainState:
    """Everything that a resumed run needs, besides the configuration.

    Attributes:
        model, optimizer, scheduler, scaler: the modules of the training step; the scheduler is None for a constant
            learning rate.
        epoch, step: `step` steps of epoch `epoch` (zero-based) are done.
        validated: whether the validation of that epoch is done too.
        best: `epoch`, `srocc` and `plcc` of the best validated epoch, if there is one.
        unreadable: a message for each training image that could not be read.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    scheduler: torch.optim.lr_scheduler.CosineAnnealingWarmRestarts | None
    scaler: torch.amp.GradScaler
    epoch: int = 0
    step: int = 0
    validated: bool = False
    best: dict[str, float] | None = None
    unreadable: list[str] = field(default_factory=list)

    def save(self) -> dict[str, Any]:
        """The content of a checkpoint: a state_dict for each part, and the values."""
        states = {f"{name}_state_dict": part.state_dict() if part is not None else {} for name, part in self._parts()}
        return states | {name: getattr(self, name) for name in VALUES}

    def restore(self, saved: Mapping[str, Any], file: str = "the checkpoint") -> None:
        """Takes up what `save` gave; the model and the rest must be built as they were then.

        `file` names it in messages. A scaler of a run that began without one (on the CPU, say) starts afresh.

        Raises:
            UserError: the content does not fit.
        """
        try:
            for name, part in self._parts():
                state = saved[f"{name}_state_dict"]
                if name == "scaler" and not state and self.scaler.is_enabled():
                    print("the run began without a gradient scaler: a new one is used from here on", file=sys.stderr)
                elif part is not None:
                    part.load_state_dict(state)
            name = "optimizer"
            for (
                parameter,
                values,
            ) in self.optimizer.state.items():  # a fused step writes beyond a buffer that is smaller
                for value in values.values():
                    if isinstance(value, torch.Tensor) and value.ndim > 0 and value.shape != parameter.shape:
                        raise ValueError(f"a buffer of shape {tuple(value.shape)} for {tuple(parameter.shape)} weights")
        except (RuntimeError, KeyError, TypeError, ValueError, AttributeError) as error:
            lines = str(error).splitlines() or [""]
            reason = lines[min(1, len(lines) - 1)].strip()  # PyTorch's first line only names the class
            raise UserError(f"{file}: its {name}_state_dict does not fit ({reason:.200}); it was changed") from error
        for name in VALUES:
            setattr(self, name, saved[name])
        if not all(type(value) is int and value >= 0 for value in (self.epoch, self.step)):
            found = f"epoch {self.epoch!r} and step {self.step!r}"
            raise UserError(f"{file}: its {found} must be integers; it was changed")

    def _parts(self) -> Iterable[tuple[str, Any]]:
        return ((name, getattr(self, name)) for name in PARTS)


def check_finite(content: Mapping[str, Any], when: str) -> None:
    """Refuses a state that could not be trained on.

    Raises:
        UserError: a weight or another value is not finite.
    """
    broken = first_not_finite(content)
    if broken is not None:
        raise UserError(
            f"{broken} is not finite {when}, so the state is not saved; the last checkpoint is good; resume it, or "
            "start again with a smaller training.lr"
        )


def first_not_finite(content: Any, name: str = "") -> str | None:
    """Name of the first tensor in nested dicts and lists with a value that is not finite; None if there is none."""
    if isinstance(content, torch.Tensor):
        return None if torch.isfinite(content).all() else name
    pairs: Iterable[tuple[Any, Any]] = ()
    if isinstance(content, Mapping):
        pairs = content.items()
    elif isinstance(content, list | tuple):
        pairs = enumerate(content)
    found = (first_not_finite(value, f"{name}.{key}" if name else str(key)) for key, value in pairs)
    return next((each for each in found if each is not None), None)


def save_checkpoint(content: Any, path: Path) -> None:
    """`torch.save` by `write_atomic`.

    Raises:
        UserError: the file cannot be written; what was there before is untouched.
    """
    write_atomic(path, lambda file: torch.save(content, file))


def replace_checkpoint(content: Any, path: Path, others: Iterable[Path]) -> None:
    """Saves `content` and then removes the other files, so that at any moment there is a complete one."""
    save_checkpoint(content, path)
    for other in others:
        if other != path:
            other.unlink()


def load_checkpoint(path: Path) -> dict[str, Any]:
    """The content of a last_epoch_*.pth file, on the CPU.

    Raises:
        WeightsError: the file is damaged or holds objects of another program.
        UserError: it was not written by this project.
    """
    content = read_weights(path, "the state of a training")
    required = {*(f"{name}_state_dict" for name in PARTS), *VALUES, "config", "splits"}
    missing = required - set(content) if isinstance(content, dict) else required
    if missing:
        raise UserError(f"{path}: lacks {', '.join(sorted(missing))}, so no run can be resumed from it")
    return content
