"""The folder of an experiment. Only this module has the names of its files."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .errors import WeightsError
from .names import check_dataset_name, check_name

CHECKPOINT = re.compile(r"(?:best|last)_epoch_(\d+)_(?:step_(\d+))?")
EXPERIMENTS = Path("experiments")  # in the working directory
COMPARISON = EXPERIMENTS / "comparison.html"
FEATURES = EXPERIMENTS / ".features"  # cached features of all experiments; file names have the encoder's hash


@dataclass(frozen=True)
class Experiment:
    """Folder of one run, usually experiments/<experiment_name>.

    Attributes:
        folder: folder path; the folder may not exist.
        title: display name.
    """

    folder: Path
    title: str = ""

    @classmethod
    def named(cls, name: str) -> "Experiment":
        """Returns the experiment of this name in the working directory.

        Raises:
            UserError: the name is not a plain folder name.
        """
        check_name("experiment_name", name)
        return cls(EXPERIMENTS / name, name)

    def of(self, eval_type: str) -> "Experiment":
        """Folder for the test of this experiment's encoder ("scratch") or of the released encoder ("arniqa")."""
        if eval_type == "scratch":
            return self
        return Experiment(self.folder / "arniqa", f"{self.title} (released encoder)")

    @property
    def full_reference(self) -> "Experiment":
        """Folder for a full-reference test."""
        return Experiment(self.folder / "full_reference", f"{self.title} (full reference)")

    @property
    def config(self) -> Path:
        return self.folder / "config.yaml"

    @property
    def environment(self) -> Path:
        return self.folder / "environment.json"

    @property
    def metrics(self) -> Path:
        return self.folder / "metrics.csv"

    @property
    def wandb_id(self) -> Path:
        return self.folder / "wandb_id.txt"

    @property
    def report(self) -> Path:
        return self.folder / "report.html"

    @property
    def manifold(self) -> Path:
        return self.folder / "manifold.json"

    def manifold_picture(self, method: str, kind: str) -> Path:
        """File of the picture of a projection ("t-SNE") coloured by "groups" or "mos"."""
        return self.folder / f"manifold_{method.replace('-', '').lower()}_{kind}.png"

    def results(self, kind: str) -> Path:
        """File of the results as "csv", "json" or "xlsx"."""
        return self.folder / f"results.{kind}"

    @property
    def predictions(self) -> Path:
        """File with the prediction of each test image in every split."""
        return self.folder / "predictions.csv"

    def regressor(self, dataset: str) -> Path:
        return self.folder / "regressors" / f"regressor_{dataset}.pth"

    def regressors(self) -> list[Path]:
        """Files of the existing regressors, sorted by name."""
        return sorted(self.folder.glob("regressors/regressor_*.pth"))

    def find_regressor(self, dataset: str) -> Path:
        """Returns the file of the regressor that test.py fitted on a dataset.

        Raises:
            UserError: `dataset` is not the name of a dataset.
            WeightsError: the file does not exist; the message lists the datasets that have a regressor.
        """
        check_dataset_name("regressor_dataset", dataset)
        path = self.regressor(dataset)
        if not path.is_file():
            names = [each.stem.removeprefix("regressor_") for each in self.regressors()]
            raise WeightsError(
                f"{path}: no such file; {self.folder} has regressors for: {', '.join(names) or 'no dataset'} (test.py "
                "fits them, full-reference ones with --test.full_reference true)"
            )
        return path

    def best_checkpoint(self, epoch: int, scores: Mapping[str, float] | None) -> Path:
        """File for the best weights, from this epoch (zero-based); `scores` is None if it was not validated."""
        return self._checkpoint("best", epoch, _scores(scores) if scores else "not_validated")

    def last_checkpoint(self, epoch: int, step: int, scores: Mapping[str, float] | None) -> Path:
        """File for the checkpoint after `step` steps of this epoch; with `scores`, after its validation."""
        return self._checkpoint("last", epoch, _scores(scores) if scores else f"step_{step}")

    def best_checkpoints(self) -> list[Path]:
        """Files best_epoch_*.pth; the last one is the best and has the latest epoch.

        There are two only if the run was killed between writing one and removing the other.
        """
        return self._checkpoints("best")

    def last_checkpoints(self) -> list[Path]:
        """Files last_epoch_*.pth, the newest last. There are two only after a kill, as above."""
        return self._checkpoints("last")

    def find_best_checkpoint(self) -> Path:
        """Returns the file of the best weights.

        Raises:
            WeightsError: there is none.
        """
        checkpoints = self.best_checkpoints()
        if not checkpoints:
            raise WeightsError(f"{self._pretrain}: has no best_epoch_*.pth; train the experiment first (main.py)")
        return checkpoints[-1]

    @property
    def is_training_run(self) -> bool:
        """Whether the experiment has its own encoder, rather than only a test of the released one."""
        return self._pretrain.is_dir()

    def remove_unfinished_files(self) -> None:
        """Removes temporary files that a killed process was writing."""
        for path in [*self.folder.glob(".*.partial"), *self._pretrain.glob(".*.partial")]:
            path.unlink(missing_ok=True)

    def _checkpoint(self, kind: str, epoch: int, rest: str) -> Path:
        return self._pretrain / f"{kind}_epoch_{epoch}_{rest}.pth"

    def _checkpoints(self, kind: str) -> list[Path]:
        """Files of a kind sorted by epoch and step; the one after the validation is the last of its epoch."""
        matches = [(CHECKPOINT.match(path.name), path) for path in self._pretrain.glob(f"{kind}_epoch_*.pth")]
        numbered = [(int(match[1]), float(match[2] or "inf"), path) for match, path in matches if match]
        return [path for *_, path in sorted(numbered)]

    @property
    def _pretrain(self) -> Path:
        return self.folder / "pretrain"


def _scores(scores: Mapping[str, float]) -> str:
    return f"srocc_{scores['srocc']:.3f}_plcc_{scores['plcc']:.3f}"
