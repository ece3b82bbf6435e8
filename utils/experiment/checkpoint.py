"""Checkpoints of a training run: `TrainState` is the state that a resumed run needs."""

import math
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models.errors import UserError, shorten
from models.files import write_atomic
from models.simclr import SimCLR
from models.weights_file import read_weights

PARTS = ("model", "optimizer", "scheduler", "scaler")  # saved as state_dicts
# Numbers in the state_dicts that training changes; the configuration determines all others.
CHANGING = {"lr", "_last_lr", "T_cur", "T_i", "last_epoch", "_step_count", "scale", "_growth_tracker"}
BEST = {"epoch": int, "srocc": float, "plcc": float, "encoder_hash": str}  # keys of `TrainState.best`


@dataclass
class TrainState:
    """State that a resumed run needs in addition to the configuration.

    Attributes:
        model, optimizer, scheduler, scaler: objects of the training step; the scheduler is None for a constant
            learning rate.
        epoch, step: current epoch (zero-based) and number of finished steps in it.
        validated: whether the validation of this epoch is finished too.
        best: `epoch`, `srocc`, `plcc` and `encoder_hash` of the best validated epoch; None before the first one.
        unreadable: message for each training image that could not be read.
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
        """Counts a step, and steps the scheduler with the fractional epoch (paper section 4.1)."""
        if self.scheduler is not None:
            self.scheduler.step(self.epoch + self.step / steps_per_epoch)
        self.step += 1

    def save(self) -> dict[str, Any]:
        """Returns the content of a checkpoint: a state_dict for each part, and the values."""
        states = {f"{name}_state_dict": part.state_dict() if part is not None else {} for name, part in self._parts()}
        return states | {name: getattr(self, name) for name in VALUES}

    def restore(self, saved: Mapping[str, Any], file: str, steps_per_epoch: int) -> None:
        """Restores the content of a checkpoint into parts that were built with the same configuration.

        If the run started without a gradient scaler (on the CPU, for example), the current one is kept.

        Args:
            saved: content of a checkpoint, see `load_checkpoint`.
            file: name of the checkpoint, for messages.
            steps_per_epoch: largest valid `step`.

        Raises:
            UserError: the content does not match the parts, or a value is not finite.
        """
        if saved["step"] > steps_per_epoch:
            raise UserError(
                f"{file}: step: found {saved['step']}; allowed: 0 to {steps_per_epoch}, the steps of an epoch; "
                "the file or the training images were changed"
            )
        name = ""
        try:
            for name, part in self._parts():
                state = saved[f"{name}_state_dict"]
                if name == "scaler" and not state and self.scaler.is_enabled():
                    print("the run started without a gradient scaler; a new one is used now", file=sys.stderr)
                elif part is not None:
                    if name == "optimizer":
                        _check_values(state["param_groups"], part.state_dict()["param_groups"], name)
                    elif name != "model" and part.state_dict():  # empty for a disabled scaler
                        _check_values(state, part.state_dict(), name)
                    part.load_state_dict(state)
            name = "optimizer"
            _check_tensors(self.model, saved["model_state_dict"], self.optimizer)
            broken = first_not_finite(self.save())
            if broken is not None:
                raise UserError(f"{file}: {broken} is not finite, so no run can be resumed from it")
        except (RuntimeError, KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            lines = str(error).splitlines() or [""]
            reason = lines[min(1, len(lines) - 1)].strip()  # PyTorch's first line only names the class
            raise UserError(f"{file}: {name}_state_dict does not fit ({shorten(reason)}); it was changed") from error
        for name in VALUES:
            setattr(self, name, saved[name])

    def _parts(self) -> Iterable[tuple[str, Any]]:
        return ((name, getattr(self, name)) for name in PARTS)


def _is_count(value: object) -> bool:
    return type(value) is int and value >= 0


def _is_best(value: object) -> bool:
    if value is None:
        return True
    if not isinstance(value, dict) or {name: type(found) for name, found in value.items()} != BEST:
        return False
    return value["epoch"] >= 0 and -1 <= value["srocc"] <= 1 and -1 <= value["plcc"] <= 1


def _is_splits(value: object) -> bool:
    if not isinstance(value, dict):
        return False
    pairs = [pair for pair in value.values() if isinstance(pair, tuple) and len(pair) == 2]
    return len(pairs) == len(value) and all(isinstance(text, str) for text in (*value, *sum(pairs, ())))


VALUES: dict[str, tuple[Callable[[Any], bool], str]] = {  # plain values: name -> check, allowed values
    "epoch": (_is_count, "integer >= 0"),
    "step": (_is_count, "integer >= 0"),
    "validated": (lambda value: type(value) is bool, "true or false"),
    "best": (_is_best, f"null, or {', '.join(BEST)}"),
    "unreadable": (lambda value: isinstance(value, list) and all(isinstance(m, str) for m in value), "list of strings"),
}
INPUTS: dict[str, tuple[Callable[[Any], bool], str]] = {  # inputs of the run, saved with the state
    "config": (lambda value: isinstance(value, dict), "a mapping"),
    "splits": (_is_splits, "a kind and a hash for each dataset"),
}


def _check_values(saved: Any, present: Any, name: str) -> None:
    """Raises ValueError unless `saved` differs from `present` only in the numbers of `CHANGING`.

    A state of another version of PyTorch may lack keys. Unknown keys are errors, because they would replace methods.
    """
    if isinstance(present, Mapping) and isinstance(saved, Mapping) and CHANGING & set(present) <= set(saved):
        for key, value in saved.items():
            if key not in present:
                raise ValueError(f"{name}.{key}: unknown")
            if key not in CHANGING:
                _check_values(value, present[key], f"{name}.{key}")
                continue
            numbers = value if isinstance(present[key], list) and isinstance(value, list) else [value]
            if not all(type(number) in (int, float) and 0 <= number < math.inf for number in numbers):
                raise ValueError(f"{name}.{key}: found {shorten(repr(value))}; allowed: numbers >= 0")
    elif isinstance(present, list) and isinstance(saved, list) and len(saved) == len(present):
        for number, value in enumerate(present):
            _check_values(saved[number], value, f"{name}.{number}")
    elif type(saved) is not type(present) or saved != present:
        raise ValueError(f"{name}: found {shorten(repr(saved))}; allowed: {shorten(repr(present))}")


def _check_tensors(model: SimCLR, saved: Mapping[str, Any], optimizer: torch.optim.Optimizer) -> None:
    """Raises ValueError for weights of another dtype, and for buffers too small for a fused step."""
    for name, value in model.state_dict().items():
        if saved[name].dtype != value.dtype:
            raise ValueError(f"{name}: found {saved[name].dtype}; allowed: {value.dtype}")
    names = {tuple(sorted(buffers)) for buffers in optimizer.state.values()}
    if len(names) > 1:
        raise ValueError("the buffers differ between parameters")
    for parameter, buffers in optimizer.state.items():
        for name, value in buffers.items():
            shape = torch.Size() if name == "step" else parameter.shape
            dense = isinstance(value, Tensor) and value.layout == torch.strided
            if not (dense and value.shape == shape and value.untyped_storage().nbytes() >= value.nbytes):
                raise ValueError(f"{name}: not a dense tensor of shape {tuple(shape)}")


def check_finite(content: Mapping[str, Any], when: str) -> None:
    """Checks that all tensors of a state are finite, so that training can continue from it.

    Raises:
        UserError: a weight or another value is not finite.
    """
    broken = first_not_finite(content)
    if broken is not None:
        raise UserError(
            f"{broken} is not finite {when}, so the state is not saved; resume from the last checkpoint, or start "
            "again with a smaller training.lr"
        )


def first_not_finite(content: Any, name: str = "") -> str | None:
    """Returns the name of the first tensor in nested dicts and lists with a non-finite value; None without one."""
    if isinstance(content, Tensor):
        return None if torch.isfinite(content).all() else name
    pairs: Iterable[tuple[Any, Any]] = ()
    if isinstance(content, Mapping):
        pairs = content.items()
    elif isinstance(content, list | tuple):
        pairs = enumerate(content)
    found = (first_not_finite(value, f"{name}.{key}" if name else str(key)) for key, value in pairs)
    return next((each for each in found if each is not None), None)


def save_checkpoint(content: Any, path: Path, others: Iterable[Path] = ()) -> None:
    """Saves `content` atomically, then removes the other files, so that a complete file exists at any moment.

    Raises:
        UserError: the file cannot be written; existing files are unchanged.
    """
    write_atomic(path, lambda file: torch.save(content, file))
    for other in others:
        if other != path:
            other.unlink()


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Loads a last_epoch_*.pth file to the CPU and checks its values.

    Raises:
        WeightsError: the file is damaged or contains objects of another program.
        UserError: the file was not written by this project, or was changed.
    """
    content = read_weights(path, "the state of a training")
    checks = VALUES | INPUTS
    required = {*(f"{name}_state_dict" for name in PARTS), *checks}
    missing = required - set(content) if isinstance(content, dict) else required
    if missing:
        raise UserError(f"{path}: lacks {', '.join(sorted(missing))}, so no run can be resumed from it")
    for name, (check, allowed) in checks.items():
        if not check(content[name]):
            raise UserError(
                f"{path}: {name}: found {shorten(repr(content[name]))}; allowed: {allowed}; the file was changed, or "
                "written by another version"
            )
    return content
