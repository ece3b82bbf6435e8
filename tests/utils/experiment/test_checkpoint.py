import math
import pickle
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from models.errors import UserError
from utils.experiment.checkpoint import (
    TrainState,
    first_not_finite,
    load_checkpoint,
    save_checkpoint,
)

BEST = {"epoch": 1, "srocc": 0.5, "plcc": 0.25, "encoder_hash": "abc"}
STATE = {
    "model_state_dict": {"w": torch.arange(3.0)},
    "optimizer_state_dict": {},
    "scheduler_state_dict": {},
    "scaler_state_dict": {},
    "epoch": 1,
    "step": 2,
    "validated": False,
    "best": None,
    "unreadable": [],
    "config": {"seed": 27},
    "splits": {},
}


def test_a_failed_write_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "last_epoch_0.pth"
    save_checkpoint(STATE, path)
    before = path.read_bytes()
    with pytest.raises((AttributeError, pickle.PicklingError)):
        save_checkpoint(lambda: None, path)
    assert path.read_bytes() == before


def test_a_full_disk_gives_a_one_line_message_and_keeps_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "last_epoch_0.pth"
    save_checkpoint(STATE, path)
    before = path.read_bytes()

    def full(_: object, file: object) -> None:
        file.write(b"half of it")  # type: ignore[attr-defined]
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(UserError, match=r"last_epoch_0\.pth: cannot be written.*No space left") as error:
        save_checkpoint({"epoch": 2}, path)
    assert "\n" not in str(error.value)
    assert [p.name for p in tmp_path.iterdir()] == [path.name] and path.read_bytes() == before


def test_an_unwritable_folder_gives_a_one_line_message(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written") as error:
        save_checkpoint(STATE, tmp_path / "file" / "last_epoch_0.pth")
    assert "\n" not in str(error.value)


def test_only_the_newest_checkpoint_is_kept(tmp_path: Path) -> None:
    for step in (1, 2, 3):
        save_checkpoint(STATE, tmp_path / f"last_epoch_0_step_{step}.pth", list(tmp_path.iterdir()))
    assert [p.name for p in tmp_path.iterdir()] == ["last_epoch_0_step_3.pth"]
    torch.testing.assert_close(load_checkpoint(tmp_path / "last_epoch_0_step_3.pth"), STATE)


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04cut"])
def test_a_damaged_checkpoint_gives_a_one_line_message(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "last_epoch_0.pth"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"last_epoch_0\.pth: damaged") as error:
        load_checkpoint(path)
    assert "\n" not in str(error.value)


def test_a_truncated_checkpoint_gives_a_one_line_message(tmp_path: Path) -> None:
    path = tmp_path / "last_epoch_0.pth"
    save_checkpoint(STATE, path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UserError, match="damaged, or not a file with the state of a training"):
        load_checkpoint(path)


def test_error_for_another_kind_of_file_lists_the_missing_keys(tmp_path: Path) -> None:
    save_checkpoint({"epoch": 1}, tmp_path / "last_epoch_0.pth")
    with pytest.raises(UserError, match="lacks best, config, model_state_dict"):
        load_checkpoint(tmp_path / "last_epoch_0.pth")


def state(scaler: torch.amp.GradScaler) -> TrainState:
    model = torch.nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, T_0=1)
    return TrainState(model, optimizer, scheduler, scaler)


def test_what_is_saved_is_restored(tmp_path: Path) -> None:
    one, other = (state(torch.amp.GradScaler("cpu", enabled=True)) for _ in range(2))
    for _ in range(3):
        one.optimizer.zero_grad()
        one.scaler.scale(one.model(torch.ones(1, 2)).sum()).backward()
        one.scaler.step(one.optimizer)
        one.scaler.update()
        one.scheduler.step(0.3)
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


def test_the_first_value_that_is_not_finite_is_named() -> None:
    momentum = [torch.ones(1)]
    content = {"model_state_dict": {"a": torch.ones(2)}, "optimizer_state_dict": {"state": {0: momentum}}, "epoch": 1}
    assert first_not_finite(content) is None
    momentum.append(torch.tensor([1.0, float("nan")]))
    assert first_not_finite(content) == "optimizer_state_dict.state.0.1"


def test_a_checkpoint_of_the_published_code_is_called_so(tmp_path: Path) -> None:
    """It holds its configuration as an object of a class of its own."""
    path = tmp_path / "last_epoch_3.pth"
    torch.save({**STATE, "config": SimpleNamespace(seed=27)}, path)
    with pytest.raises(UserError, match="objects of another program, which are not loaded") as error:
        load_checkpoint(path)
    assert "\n" not in str(error.value)


def trained() -> TrainState:
    """A state after one step."""
    one = state(torch.amp.GradScaler("cpu", enabled=True))
    one.scaler.scale(one.model(torch.ones(1, 2)).sum()).backward()
    one.scaler.step(one.optimizer)
    one.scaler.update()
    return one


OPTIMIZER, SCHEDULER = "optimizer_state_dict", "scheduler_state_dict"
BUFFER = (OPTIMIZER, "state", 0, "momentum_buffer")
CHANGES: list[tuple[tuple, Any, str]] = [
    ((OPTIMIZER,), {}, "optimizer_state_dict does not fit"),
    (("model_state_dict",), {}, 'model_state_dict does not fit (Missing key(s) in state_dict: "weight", "bias"'),
    (("model_state_dict", "more"), torch.ones(1), 'does not fit (Unexpected key(s) in state_dict: "more"'),
    (("model_state_dict", "bias"), torch.ones(2), "does not fit (size mismatch for bias"),
    (("model_state_dict", "bias"), 3, "model_state_dict does not fit (While copying the parameter"),
    (
        ("model_state_dict", "bias"),
        torch.ones(1).int(),
        "does not fit (bias: found torch.int32; allowed: torch.float32",
    ),
    (("model_state_dict", "bias"), torch.tensor([math.nan]), "model_state_dict.bias is not finite"),
    ((OPTIMIZER, "param_groups", 0, "lr"), "a", "optimizer.0.lr: found 'a'; allowed: numbers >= 0"),
    ((OPTIMIZER, "param_groups", 0, "lr"), math.nan, "optimizer.0.lr: found nan"),
    ((OPTIMIZER, "param_groups", 0, "lr"), -1.0, "optimizer.0.lr: found -1.0"),
    ((OPTIMIZER, "param_groups", 0, "maximize"), True, "optimizer.0.maximize: found True; allowed: False"),
    ((OPTIMIZER, "param_groups", 0, "momentum"), 2.0, "optimizer.0.momentum: found 2.0; allowed: 0.9"),
    ((OPTIMIZER, "param_groups"), 3, "optimizer: found 3"),
    ((OPTIMIZER, "state"), [], "optimizer_state_dict does not fit"),
    # The fused step of SGD wrote beyond these buffers, which ended the process.
    (BUFFER, torch.ones(1), "momentum_buffer: not a dense tensor of shape (1, 2)"),
    (BUFFER, torch.tensor(1.0), "momentum_buffer: not a dense tensor of shape (1, 2)"),
    (BUFFER, torch.zeros(1).expand(1, 2), "momentum_buffer: not a dense tensor of shape (1, 2)"),
    (BUFFER, torch.zeros(1, 2).to_sparse(), "momentum_buffer: not a dense tensor of shape (1, 2)"),
    (BUFFER, "x", "momentum_buffer: not a dense tensor of shape (1, 2)"),
    ((OPTIMIZER, "state", 1), {}, "the buffers differ between parameters"),
    ((SCHEDULER, "T_cur"), "x", "scheduler.T_cur: found 'x'; allowed: numbers >= 0"),
    ((SCHEDULER, "T_0"), 0, "scheduler.T_0: found 0; allowed: 1"),
    ((SCHEDULER, "base_lrs"), [], "scheduler.base_lrs: found []; allowed: [0.1]"),
    ((SCHEDULER, "get_lr"), 1, "scheduler.get_lr: unknown"),  # load_state_dict would replace the method
    ((SCHEDULER,), 3, "scheduler: found 3"),
    (("scaler_state_dict", "scale"), None, "scaler.scale: found None"),
    (("step",), 10**9, "step: found 1000000000; allowed: 0 to 5, the steps of an epoch"),
    (("step",), -1, "step: found -1; allowed: integer >= 0"),
    (("epoch",), "three", "epoch: found 'three'; allowed: integer >= 0"),
    (("epoch",), True, "epoch: found True; allowed: integer >= 0"),
    (("validated",), 1, "validated: found 1; allowed: true or false"),
    (("best",), "x", "best: found 'x'; allowed: null, or epoch, srocc, plcc, encoder_hash"),
    (("best",), {**BEST, "srocc": "a"}, "best: found {'epoch': 1, 'srocc': 'a'"),
    (("best",), {**BEST, "srocc": math.nan}, "best: found {'epoch': 1, 'srocc': nan"),
    (("unreadable",), [3], "unreadable: found [3]; allowed: list of strings"),
    (("config",), 3, "config: found 3; allowed: a mapping"),
    (("splits",), 3, "splits: found 3; allowed: a kind and a hash for each dataset"),
    (("splits",), {"live": "own"}, "splits: found {'live': 'own'}"),
]


@pytest.mark.parametrize(("keys", "value", "message"), CHANGES)
def test_a_checkpoint_that_was_changed_is_one_line(tmp_path: Path, keys: tuple, value: object, message: str) -> None:
    """Most were a traceback or trained something else; with a step beyond the epoch nothing was trained."""
    path = tmp_path / "last_epoch_0.pth"
    content = trained().save() | {"config": {}, "splits": {}}
    *way, last = keys
    place: Any = content
    for key in way:
        place = place[key]
    place[last] = value
    save_checkpoint(content, path)
    with pytest.raises(UserError) as error:
        state(torch.amp.GradScaler("cpu", enabled=True)).restore(load_checkpoint(path), str(path), steps_per_epoch=5)
    text = str(error.value)
    assert text.startswith(f"{path}: ") and message in text and "\n" not in text and len(text) < 500
