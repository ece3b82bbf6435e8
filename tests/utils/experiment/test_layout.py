from pathlib import Path

import pytest

from models import experiment_files
from models.errors import WeightsError
from utils.errors import UserError
from utils.experiment.layout import Experiment


@pytest.fixture
def experiment(tmp_path: Path) -> Experiment:
    (tmp_path / "pretrain").mkdir()
    return Experiment(tmp_path, "title")


def test_the_newest_checkpoint_is_last(experiment: Experiment) -> None:
    paths = [
        experiment.last_checkpoint(0, 9, None),
        experiment.last_checkpoint(0, 10, None),
        experiment.last_checkpoint(0, 20, {"srocc": 0.5, "plcc": 0.6}),
        experiment.last_checkpoint(1, 1, None),
        experiment.last_checkpoint(1, 20, None),
        experiment.last_checkpoint(1, 20, {"srocc": -0.1, "plcc": 0.25}),
        experiment.last_checkpoint(10, 1, None),
    ]
    assert experiment.last_checkpoints() == []
    for path in paths:
        path.touch()
        assert experiment.last_checkpoints()[-1] == path


def test_file_names_have_three_decimals(experiment: Experiment) -> None:
    path = experiment.best_checkpoint(9, {"srocc": 0.12345, "plcc": -0.5})
    assert path.name == "best_epoch_9_srocc_0.123_plcc_-0.500.pth"
    assert experiment.best_checkpoint(3, None).name == "best_epoch_3_not_validated.pth"


def test_models_experiment_files_finds_the_same_files(experiment: Experiment) -> None:
    folder = experiment.folder
    with pytest.raises(UserError, match="train the experiment first"):
        experiment.find_best_checkpoint()
    with pytest.raises(WeightsError, match="train the experiment first"):
        experiment_files.find_best_checkpoint(folder)
    for epoch in (2, 10, 9):
        experiment.best_checkpoint(epoch, {"srocc": 0.5, "plcc": 0.5}).touch()
        assert experiment.find_best_checkpoint() == experiment_files.find_best_checkpoint(folder)
    assert experiment.find_best_checkpoint().name.startswith("best_epoch_10_")
    for name in ("best_epoch_10_srocc_0.9_plcc_0.1.pth", "best_epoch_11_srocc_0.1_plcc_0.1.pth", "best_epoch_copy.pth"):
        (folder / "pretrain" / name).touch()
        assert experiment.find_best_checkpoint() == experiment_files.find_best_checkpoint(folder)
    assert experiment_files.is_training_run(folder) and not experiment_files.is_training_run(folder / "other")
    experiment.regressor("mine").parent.mkdir()
    experiment.regressor("mine").touch()
    assert experiment_files.find_regressor(folder, "mine") == experiment.regressor("mine")
    assert experiment.regressors() == [experiment.regressor("mine")]
    beside = experiment.full_reference.regressor("mine")
    with pytest.raises(WeightsError, match="full_reference true"):
        experiment_files.find_regressor(folder, "mine", full_reference=True)
    beside.parent.mkdir(parents=True)
    beside.touch()
    assert experiment_files.find_regressor(folder, "mine", full_reference=True) == beside
    assert beside == folder / "full_reference" / "regressors" / "regressor_mine.pth"


def test_tests_of_the_released_encoder_have_their_own_folder() -> None:
    experiment = Experiment.named("mine")
    assert experiment.folder == Path("experiments", "mine") and experiment.of("scratch") == experiment
    assert experiment.of("arniqa").folder == Path("experiments", "mine", "arniqa")
