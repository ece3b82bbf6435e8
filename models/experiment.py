"""The folder of an experiment: the only module that spells the names of its files."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .errors import WeightsError
from .names import check_name

CHECKPOINT = re.compile(r"(?:best|last)_epoch_(\d+)_(?:step_(\d+))?")
EXPERIMENTS = Path("experiments")  # in the working directory
COMPARISON = EXPERIMENTS / "comparison.html"
FEATURES = EXPERIMENTS / ".features"  # cached features of all experiments; a file's name says which encoder's they are


@dataclass(frozen=True)
class Experiment:
    """The folder of one run, usually experiments/<experiment_name>.

    Attributes:
        folder: path of the folder, which may not exist.
        title: display name.
    """

    folder: Path
    title: str = ""

    @classmethod
    def named(cls, name: str) -> "Experiment":
        """The experiment of that name in the working directory.

        Raises:
            UserError: it is not a name, but a path for instance.
        """
        check_name("experiment_name", name)
        return cls(EXPERIMENTS / name, name)

    def of(self, eval_type: str) -> "Experiment":
        """Where a test leaves its files: of this experiment's encoder ("scratch") or of the released one ("arniqa")."""
        if eval_type == "scratch":
            return self
        return Experiment(self.folder / "arniqa", f"{self.title} (released encoder)")

    @property
    def full_reference(self) -> "Experiment":
        """Where a full-reference test leaves its files."""
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
        """The picture of a projection ("t-SNE") coloured by "groups" or "mos"."""
        return self.folder / f"manifold_{method.replace('-', '').lower()}_{kind}.png"

    def results(self, kind: str) -> Path:
        """The results as "csv", "json" or "xlsx"."""
        return self.folder / f"results.{kind}"

    @property
    def predictions(self) -> Path:
        """The prediction of each test image in every split."""
        return self.folder / "predictions.csv"

    def regressor(self, dataset: str) -> Path:
        return self.folder / "regressors" / f"regressor_{dataset}.pth"

    def regressors(self) -> list[Path]:
        """The regressors that exist, by name."""
        return sorted(self.folder.glob("regressors/regressor_*.pth"))

    def find_regressor(self, dataset: str) -> Path:
        """The regressor that test.py fitted on a dataset.

        Raises:
            UserError: `dataset` is not the name of a dataset.
            WeightsError: the file does not exist; the message lists the datasets that have a regressor.
        """
        check_name("regressor_dataset", dataset)
        path = self.regressor(dataset)
        if not path.is_file():
            names = [each.stem.removeprefix("regressor_") for each in self.regressors()]
            raise WeightsError(
                f"{path}: no such file; {self.folder} has regressors for: {', '.join(names) or 'no dataset'} (test.py "
                "fits them, full-reference ones with --test.full_reference true)"
            )
        return path

    def best_checkpoint(self, epoch: int, scores: Mapping[str, float] | None) -> Path:
        """The file of the best weights, made in that epoch (zero-based); `scores` is None if it was not validated."""
        return self._checkpoint("best", epoch, _scores(scores) if scores else "not_validated")

    def last_checkpoint(self, epoch: int, step: int, scores: Mapping[str, float] | None) -> Path:
        """The file to resume from after `step` steps of that epoch; with `scores`, after its validation."""
        return self._checkpoint("last", epoch, _scores(scores) if scores else f"step_{step}")

    def best_checkpoints(self) -> list[Path]:
        """All best_epoch_*.pth, the best (that of the latest epoch) last.

        There are two only if the run was killed between writing one and removing the other.
        """
        return self._checkpoints("best")

    def last_checkpoints(self) -> list[Path]:
        """All last_epoch_*.pth, the newest last. There are two only after a kill, as above."""
        return self._checkpoints("last")

    def find_best_checkpoint(self) -> Path:
        """The weights that validation found best.

        Raises:
            WeightsError: there are none.
        """
        checkpoints = self.best_checkpoints()
        if not checkpoints:
            raise WeightsError(f"{self._pretrain}: has no best_epoch_*.pth; train the experiment first (main.py)")
        return checkpoints[-1]

    @property
    def is_training_run(self) -> bool:
        """Whether an encoder was trained here, and not only the released one tested."""
        return self._pretrain.is_dir()

    def remove_unfinished_files(self) -> None:
        """Removes what a killed process left of files that it was writing."""
        for path in [*self.folder.glob(".*.partial"), *self._pretrain.glob(".*.partial")]:
            path.unlink(missing_ok=True)

    def _checkpoint(self, kind: str, epoch: int, rest: str) -> Path:
        return self._pretrain / f"{kind}_epoch_{epoch}_{rest}.pth"

    def _checkpoints(self, kind: str) -> list[Path]:
        """The files of a kind by epoch; within an epoch by step, with the one made after validation last."""
        matches = [(CHECKPOINT.match(path.name), path) for path in self._pretrain.glob(f"{kind}_epoch_*.pth")]
        numbered = [(int(match[1]), float(match[2] or "inf"), path) for match, path in matches if match]
        return [path for *_, path in sorted(numbered)]

    @property
    def _pretrain(self) -> Path:
        return self.folder / "pretrain"


def _scores(scores: Mapping[str, float]) -> str:
    return f"srocc_{scores['srocc']:.3f}_plcc_{scores['plcc']:.3f}"
