"""Finds the checkpoint and the regressor that the quality model loads from an experiment's folder.

`utils/experiment/layout.py` defines the whole folder. These functions repeat a part of it because torch.hub loads
`models` into programs that may have their own package `utils`. A test checks that both find the same files.
"""

import re
from pathlib import Path

from .errors import WeightsError
from .names import check_name


def is_training_run(experiment: str | Path) -> bool:
    """Whether the folder belongs to a run that trained an encoder, not to a test of the released encoder."""
    return _pretrain(experiment).is_dir()


def find_best_checkpoint(experiment: str | Path) -> Path:
    """The checkpoint with the best validation result: best_epoch_*.pth.

    Two such files exist only if the run was killed after it wrote the new file and before it removed the old one. The
    later epoch is then the better one.

    Raises:
        WeightsError: the experiment has no such file.
    """
    folder = _pretrain(experiment)
    numbered = [
        (int(match[1]), path)
        for path in folder.glob("best_epoch_*.pth")
        if (match := re.match(r"best_epoch_(\d+)_", path.name))
    ]
    if not numbered:
        raise WeightsError(f"{folder}: has no best_epoch_*.pth; train the experiment first (main.py)")
    return max(numbered)[1]


def find_own_encoder(experiment: str | Path, weights_dir: str | Path | None) -> Path:
    """The best checkpoint of a training run, for a model that takes no encoder from `weights_dir`.

    Raises:
        WeightsError: there is none, or `weights_dir` is given too.
    """
    if weights_dir is not None:
        raise WeightsError(
            f"weights_dir: found {weights_dir}, but {experiment} has its own encoder; give one of the two"
        )
    return find_best_checkpoint(experiment)


def find_regressor(experiment: str | Path, dataset: str, full_reference: bool = False) -> Path:
    """The regressor that test.py fitted on a dataset for this experiment, of the usual or of the full-reference kind.

    Raises:
        UserError: it is not the name of a dataset.
        WeightsError: the file does not exist; the message lists the datasets that have a regressor.
    """
    check_name("regressor_dataset", dataset)
    folder = Path(experiment) / "full_reference" if full_reference else Path(experiment)
    path = folder / "regressors" / f"regressor_{dataset}.pth"
    if not path.is_file():
        found = sorted(p.stem.removeprefix("regressor_") for p in path.parent.glob("regressor_*.pth"))
        kind = " of this kind (test.py with --test.full_reference true fits them)" if full_reference else ""
        raise WeightsError(
            f"{path}: no such file; this experiment has regressors{kind} for: {', '.join(found) or 'none'}"
        )
    return path


def _pretrain(experiment: str | Path) -> Path:
    return Path(experiment) / "pretrain"
