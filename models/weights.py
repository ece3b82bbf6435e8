"""Loads encoders, and finds the released weights.

The release consists of `ARNIQA.pth` (the encoder's state dict) and one `regressor_<dataset>.pth` per dataset (a
TorchScript archive with two tensors). An experiment of this project has `pretrain/best_epoch_*.pth` (the same state
dict with the prefix `encoder.`) and `regressors/regressor_<dataset>.pth` (see `models/regressor.py`).
"""

import hashlib
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

import torch

from .download import WEIGHTS_DIR_VARIABLE, downloaded
from .errors import WeightsError, shorten
from .experiment import Experiment
from .names import check_dataset_name
from .regressor import RELEASED_SCORES, Regressor, load_regressor
from .resnet import ResNet
from .weights_file import read_weights

T = TypeVar("T")


def encoder_hash(encoder: ResNet) -> str:
    """Returns the hash of an encoder's backbone weights: 16 hexadecimal digits.

    These are the first digits of the SHA-256 of the name, shape and bytes of every `model.*` tensor, sorted by name.
    The counters `num_batches_tracked` are excluded because they do not affect the features. An encoder that does not
    normalise its features has another hash.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(encoder.state_dict().items()):
        if name.startswith("model.") and not name.endswith("num_batches_tracked"):
            digest.update(f"{name} {tuple(tensor.shape)}".encode())
            digest.update(memoryview(tensor.detach().cpu().contiguous().numpy()).cast("B"))
    if not encoder.use_norm:
        digest.update(b"use_norm false")
    return digest.hexdigest()[:16]


def load_encoder(path: str | Path) -> ResNet:
    """Loads an encoder to the CPU, in evaluation mode.

    Args:
        path: the released ARNIQA.pth, or the best_epoch_*.pth of an experiment (names with the prefix `encoder.`).

    The file also has the flag `use_norm` of `ResNet`. The released file lacks it; the default is true.

    Raises:
        WeightsError: the file is missing, damaged or does not contain exactly the weights of this encoder.
    """
    path = Path(path)
    use = "use an ARNIQA.pth or a best_epoch_*.pth"
    state = read_weights(path, "the weights of an encoder")
    try:
        prefix = "encoder" if all(name.startswith("encoder.") for name in state) else ""
        metadata = getattr(state, "_metadata", {}).get(prefix, {})
        state = {name.removeprefix("encoder."): value for name, value in state.items()}
        state = {name: value.float() if value.is_floating_point() else value for name, value in state.items()}
        with torch.device("meta"):  # skips the allocation and initialisation of weights that are replaced below
            encoder = ResNet(
                len(state["projector.2.weight"]), pretrained=False, use_norm=metadata.get("use_norm", True)
            )
        encoder.load_state_dict(state, strict=True, assign=True)
        broken = [name for name, value in state.items() if not torch.isfinite(value).all()]
        if broken:
            raise RuntimeError(f"{broken[0]} is not finite")
    except (RuntimeError, AttributeError, KeyError, TypeError) as error:
        reason = str(error).partition("\n")[2] or error  # PyTorch's first line only names the class
        raise WeightsError(f"{path}: not the weights of this encoder ({shorten(reason)}); {use}") from error
    return encoder.eval()


def load_weights(
    datasets: Sequence[str], weights_dir: str | Path | None, experiment: str | Path | None, full_reference: bool
) -> tuple[ResNet, list[Regressor]]:
    """Loads the encoder of a quality model, and the regressors of these datasets; see `ARNIQA` for the arguments.

    Raises:
        WeightsError: a file is missing, invalid or cannot be downloaded, a regressor was fitted on the features of
            another encoder, or both `weights_dir` and a training run with its own encoder are given.
    """
    if experiment is None:
        if full_reference:
            raise WeightsError("full_reference: the release has no such regressor; name an experiment with one")
        paths = [Path(f"regressor_{dataset}.pth") for dataset in datasets]
        regressors = [published_regressor(dataset, weights_dir) for dataset in datasets]
        encoder = published_encoder(weights_dir)
    else:
        run, tested = Experiment(Path(experiment)), _tested(experiment, full_reference)
        paths = [tested.find_regressor(dataset) for dataset in datasets]
        kind = "full_reference" if full_reference else "no_reference"
        regressors = [load_regressor(path, kind) for path in paths]
        encoder = own_encoder(run, weights_dir) if run.is_training_run else published_encoder(weights_dir)
    fitted_on = encoder_hash(encoder)
    for path, regressor in zip(paths, regressors, strict=True):
        regressor.check_fitted_on(fitted_on, str(path))
    return encoder, regressors


def datasets_with_regressor(
    weights_dir: str | Path | None, experiment: str | Path | None, full_reference: bool
) -> list[str]:
    """Returns the datasets that have a regressor where `load_weights` looks for it, in `release_order`.

    Raises:
        WeightsError: there is none.
    """
    folder = _weights_folder(weights_dir)
    if experiment is not None:
        tested = _tested(experiment, full_reference)
        folder, files = tested.folder, tested.regressors()
    elif folder is not None:
        files = list(folder.glob("regressor_*.pth"))
    else:
        return list(RELEASED_SCORES)
    if not files:
        raise WeightsError(f"{folder}: has no regressor_<dataset>.pth; fit one (test.py) or name another folder")
    return release_order(path.stem.removeprefix("regressor_") for path in files)


def release_order(datasets: Iterable[str]) -> list[str]:
    """Sorts names of datasets: those of the release in its order, then the others by name."""
    released = list(RELEASED_SCORES)
    return sorted(datasets, key=lambda name: (released.index(name) if name in released else len(released), name))


def _tested(experiment: str | Path, full_reference: bool) -> Experiment:
    """Returns the folder in which test.py wrote the regressors of a kind."""
    folder = Experiment(Path(experiment))
    return folder.full_reference if full_reference else folder


def own_encoder(experiment: Experiment, weights_dir: str | Path | None) -> ResNet:
    """Loads the best encoder of a training run; `weights_dir` must be None.

    Raises:
        WeightsError: the run has no checkpoint, or `weights_dir` is given too.
    """
    if weights_dir is not None:
        raise WeightsError(
            f"weights_dir: found {weights_dir}, but {experiment.folder} has its own encoder; give one of the two"
        )
    return load_encoder(experiment.find_best_checkpoint())


def published_encoder(weights_dir: str | Path | None = None) -> ResNet:
    """Loads the released encoder from ARNIQA.pth.

    The file is read from `weights_dir` or, by default, from the folder in the environment variable ARNIQA_WEIGHTS_DIR.
    If neither is set, it is downloaded once (`downloaded`).

    Raises:
        WeightsError: the file is missing, invalid or cannot be downloaded.
    """
    return _published("ARNIQA.pth", weights_dir, load_encoder)


def published_regressor(dataset: str, weights_dir: str | Path | None = None) -> Regressor:
    """Loads the regressor of a dataset, from the same places as `published_encoder`.

    Raises:
        UserError: `dataset` is not the name of a dataset.
        WeightsError: the release and the folder have no regressor for the dataset, or the file is invalid or cannot be
            downloaded.
    """
    check_dataset_name("regressor_dataset", dataset)
    folder = _weights_folder(weights_dir)
    if dataset not in RELEASED_SCORES and not (folder and (folder / f"regressor_{dataset}.pth").is_file()):
        raise WeightsError(
            f"{dataset}: the release has no regressor for it; use one of {', '.join(RELEASED_SCORES)}"
            + (f", or a dataset with a regressor_<dataset>.pth in {folder}" if folder else "")
        )
    return _published(f"regressor_{dataset}.pth", weights_dir, load_regressor)


def _published(name: str, weights_dir: str | Path | None, load: Callable[[Path], T]) -> T:
    """Loads a released file from a folder or, by default, from the cache of downloads."""
    folder = _weights_folder(weights_dir)
    return load(folder / name) if folder else downloaded(name, load)


def _weights_folder(weights_dir: str | Path | None) -> Path | None:
    folder = weights_dir or os.environ.get(WEIGHTS_DIR_VARIABLE)
    return Path(folder).expanduser() if folder else None
