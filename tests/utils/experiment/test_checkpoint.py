import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from models.errors import UserError
from utils.experiment.checkpoint import TrainState, load_checkpoint, save_checkpoint

BEST = {"epoch": 1, "srocc": 0.5, "plcc": 0.25, "encoder_hash": "abc"}


def state(scaler: torch.amp.GradScaler | None = None, steps: int = 0) -> TrainState:
    """A state after some steps."""
    scaler = scaler or torch.amp.GradScaler("cpu", enabled=True)
    model = torch.nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, T_0=1)
    for _ in range(steps):
        optimizer.zero_grad()
        scaler.scale(model(torch.ones(1, 2)).sum()).backward()
        scaler.step(optimizer)
        scaler.update()
        scheduler.step(0.3)
    return TrainState(model, optimizer, scheduler, scaler)


def content(steps: int = 0) -> dict[str, Any]:
    """A checkpoint's content."""
    return state(steps=steps).save() | {"config": {}, "splits": {}}


@pytest.mark.parametrize(
    ("saved", "message"),
    [
        (None, "damaged, or not a file with the state of a training"),  # a file that was cut
        ({"epoch": 1}, "lacks best, config, model_state_dict"),
        # The published code saved its configuration as an object of a class of its own.
        (content() | {"config": SimpleNamespace(seed=27)}, "objects of another program, which are not loaded"),
    ],
)
def test_another_or_a_damaged_file_is_one_line(tmp_path: Path, saved: object, message: str) -> None:
    path = tmp_path / "last_epoch_0.pth"
    save_checkpoint(saved or content(), path)
    if saved is None:
        path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UserError, match=message) as error:
        load_checkpoint(path)
    assert str(error.value).startswith(str(path)) and "\n" not in str(error.value)


def test_what_is_saved_is_restored(tmp_path: Path) -> None:
    one, other = state(steps=3), state()
    one.epoch, one.step, one.validated, one.best, one.unreadable = 2, 3, True, BEST, ["a.png"]
    path = tmp_path / "last_epoch_2.pth"
    save_checkpoint(one.save() | {"config": {}, "splits": {}}, path)
    other.restore(load_checkpoint(path), "last_epoch_2.pth", steps_per_epoch=3)
    assert (other.unreadable, other.best) == (one.unreadable, one.best)
    for each in (one, other):
        each.unreadable, each.best = [], None  # texts cannot be compared below
    torch.testing.assert_close(other.save(), one.save(), rtol=0, atol=0)


def test_a_run_begun_without_a_scaler_goes_on_with_one_and_the_other_way_round(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """As when a run on the CPU is resumed on CUDA."""
    without, with_one = (state(torch.amp.GradScaler("cpu", enabled=enabled)) for enabled in (False, True))
    with_one.restore(without.save(), "file", 0)
    assert with_one.scaler.get_scale() == 2.0**16 and "a new one is used" in capsys.readouterr().err
    without.restore(with_one.save(), "file", 0)
    assert not without.scaler.is_enabled() and capsys.readouterr().err == ""


OPTIMIZER, SCHEDULER = "optimizer_state_dict", "scheduler_state_dict"
BUFFER = (OPTIMIZER, "state", 0, "momentum_buffer")
CHANGES: list[tuple[tuple, Any, str]] = [
    (("model_state_dict",), {}, 'model_state_dict does not fit (Missing key(s) in state_dict: "weight", "bias"'),
    (("model_state_dict", "bias"), torch.ones(1).int(), "(bias: found torch.int32; allowed: torch.float32"),
    (("model_state_dict", "bias"), torch.tensor([math.nan]), "model_state_dict.bias is not finite"),
    ((OPTIMIZER, "param_groups", 0, "lr"), math.nan, "optimizer.0.lr: found nan; allowed: numbers >= 0"),
    ((OPTIMIZER, "param_groups", 0, "maximize"), True, "optimizer.0.maximize: found True; allowed: False"),
    # The fused step of SGD wrote beyond these buffers, which ended the process.
    (BUFFER, torch.ones(1), "momentum_buffer: not a dense tensor of shape (1, 2)"),
    (BUFFER, torch.zeros(1).expand(1, 2), "momentum_buffer: not a dense tensor of shape (1, 2)"),
    (BUFFER, torch.zeros(1, 2).to_sparse(), "momentum_buffer: not a dense tensor of shape (1, 2)"),
    ((OPTIMIZER, "state", 1), {}, "the buffers differ between parameters"),
    ((SCHEDULER, "base_lrs"), [], "scheduler.base_lrs: found []; allowed: [0.1]"),
    ((SCHEDULER, "get_lr"), 1, "scheduler.get_lr: unknown"),  # load_state_dict would replace the method
    (("scaler_state_dict", "scale"), None, "scaler.scale: found None"),
    (("step",), 10**9, "step: found 1000000000; allowed: 0 to 5, the steps of an epoch"),
    (("epoch",), True, "epoch: found True; allowed: integer >= 0"),
    (("best",), {**BEST, "srocc": math.nan}, "best: found {'epoch': 1, 'srocc': nan"),
    (("splits",), {"live": "own"}, "splits: found {'live': 'own'}; allowed: a kind and a hash for each dataset"),
]


@pytest.mark.parametrize(("keys", "value", "message"), CHANGES)
def test_a_checkpoint_that_was_changed_is_one_line(tmp_path: Path, keys: tuple, value: object, message: str) -> None:
    """Most were a traceback or trained something else; with a step beyond the epoch nothing was trained."""
    path = tmp_path / "last_epoch_0.pth"
    changed = content(steps=1)
    *way, last = keys
    place: Any = changed
    for key in way:
        place = place[key]
    place[last] = value
    save_checkpoint(changed, path)
    with pytest.raises(UserError) as error:
        state().restore(load_checkpoint(path), str(path), steps_per_epoch=5)
    text = str(error.value)
    assert text.startswith(f"{path}: ") and message in text and "\n" not in text and len(text) < 500
