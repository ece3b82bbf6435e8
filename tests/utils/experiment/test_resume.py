from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from models.errors import UserError
from models.experiment import Experiment
from utils.config.keys import Config
from utils.experiment.checkpoint import PARTS, save_checkpoint
from utils.experiment.resume import check_same_run, check_same_splits, load_resume_state

BEFORE = {"experiment_name": "mine", "data_base_path": "d", "logging.use_wandb": False}


@pytest.mark.parametrize(
    ("key", "value", "free"),
    [
        ("training.epochs", 20, True),
        ("test.alpha", 1.0, True),
        ("device", "cpu", True),
        ("training.lr", 0.5, False),
        ("test.crop_size", 96, False),
        ("validation.alpha", 1.0, False),
    ],
)
def test_only_what_does_not_change_the_run_may_differ(key: str, value: object, free: bool) -> None:
    config = Config.from_dict({**BEFORE, key: value})
    before = Config.from_dict(BEFORE)
    if free:
        check_same_run(config, before)
        return
    with pytest.raises(UserError, match=f"{key} was .* and is now {value!r}"):
        check_same_run(config, before)


def test_the_same_splits_may_be_called_otherwise() -> None:
    check_same_splits("mine", {"live": ("shipped", "a")}, {"live": ("published", "a"), "csiq": ("own", "b")})


def test_the_checkpoint_comes_with_the_name_of_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = Config.from_dict({**BEFORE, "training.resume_training": True})
    path = Experiment.named("mine").last_checkpoint(0, 3, None)
    content: dict[str, Any] = {f"{name}_state_dict": {} for name in PARTS}
    content |= {"epoch": 0, "step": 3, "validated": False, "best": None, "unreadable": [], "splits": {}}
    save_checkpoint(content | {"config": config.to_dict()}, path)
    with ExitStack() as locks:
        assert load_resume_state(config, locks) == content | {"config": config.to_dict(), "file": str(path)}
    save_checkpoint(content | {"config": config.to_dict(), "epoch": 10**9}, path)  # trained nothing, with exit code 0
    with ExitStack() as locks, pytest.raises(UserError, match=r"last_epoch_0.* is of epoch 1000000000 "):
        load_resume_state(config, locks)
