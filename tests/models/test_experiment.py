from pathlib import Path

import pytest

from models.errors import WeightsError
from models.experiment import Experiment


@pytest.fixture
def experiment(tmp_path: Path) -> Experiment:
    (tmp_path / "pretrain").mkdir()
    return Experiment(tmp_path, "title")


def test_the_newest_checkpoint_is_last(experiment: Experiment) -> None:
    scores = {"srocc": -0.1, "plcc": 0.25}
    for written in ((0, 9, None), (0, 10, None), (1, 1, None), (1, 20, None), (1, 20, scores), (10, 1, None)):
        path = experiment.last_checkpoint(*written)
        path.touch()
        assert experiment.last_checkpoints()[-1] == path


def test_file_names_have_three_decimals(experiment: Experiment) -> None:
    path = experiment.best_checkpoint(9, {"srocc": 0.12345, "plcc": -0.5})
    assert path.name == "best_epoch_9_srocc_0.123_plcc_-0.500.pth"
    assert experiment.best_checkpoint(3, None).name == "best_epoch_3_not_validated.pth"


def test_the_best_checkpoint_is_that_of_the_latest_epoch(experiment: Experiment) -> None:
    for epoch in (2, 10, 9):
        experiment.best_checkpoint(epoch, {"srocc": 0.5, "plcc": 0.5}).touch()
    (experiment.folder / "pretrain" / "best_epoch_copy.pth").touch()
    assert experiment.find_best_checkpoint().name.startswith("best_epoch_10_")


def test_a_regressor_is_found_by_its_dataset(experiment: Experiment) -> None:
    assert experiment.is_training_run and not experiment.full_reference.is_training_run
    with pytest.raises(WeightsError, match=r"regressors for: no dataset .*full_reference true"):
        experiment.find_regressor("mine")
    for of in (experiment, experiment.full_reference):
        of.regressor("mine").parent.mkdir(parents=True)
        of.regressor("mine").touch()
        assert of.find_regressor("mine") == of.folder / "regressors" / "regressor_mine.pth"
    assert experiment.regressors() == [experiment.regressor("mine")]


def test_tests_of_the_released_encoder_have_their_own_folder() -> None:
    experiment = Experiment.named("mine")
    assert experiment.of("scratch").folder == Path("experiments", "mine")
    assert experiment.of("arniqa").folder == Path("experiments", "mine", "arniqa")
