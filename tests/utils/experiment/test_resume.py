import pytest

from utils.config.keys import Config
from utils.errors import UserError
from utils.experiment.resume import check_same_run

BEFORE = {"experiment_name": "mine", "data_base_path": "d", "logging.use_wandb": False}


@pytest.mark.parametrize(
    ("key", "value", "free"),
    [
        ("training.epochs", 20, True),
        ("test.alpha", 1.0, True),
        ("logging.use_wandb", True, True),
        ("device", "cpu", True),
        ("training.lr", 0.5, False),
        ("test.crop_size", 96, False),
        ("validation.alpha", 1.0, False),
    ],
)
def test_only_what_does_not_change_the_run_may_differ(key: str, value: object, free: bool) -> None:
    config = Config.from_dict({**BEFORE, key: value})
    before = Config.from_dict(BEFORE).to_dict()
    if free:
        check_same_run(config, before)
        return
    with pytest.raises(UserError, match=f"{key} was .* and is now {value!r}"):
        check_same_run(config, before)
