"""Weights files: find them, fetch them, check them, write them.

The released files are `ARNIQA.pth` (the encoder's state dict) and one `regressor_<dataset>.pth` per dataset
(a TorchScript archive of two tensors). Ours are an experiment's `pretrain/best_epoch_*.pth` (the same state
dict under the prefix `encoder.`) and `regressors/regressor_<dataset>.pth` (a plain dict).
"""

import hashlib
import os
import pickle
import re
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from .errors import WeightsError
from .resnet import ResNet

RELEASE_URL = "https://github.com/miccunifi/ARNIQA/releases/download/weights"
WEIGHTS_DIR_VARIABLE = "ARNIQA_WEIGHTS_DIR"
EMBEDDING_DIM = (
    4096  # of the quality model: the 2048 features of the full-scale image, then those of the half-scale one
)

# Nominal (lowest, highest) of the scores that the released regressors predict, and whether higher is better
# ("mos") or lower ("dmos").
RELEASED_SCORES: dict[str, tuple[tuple[float, float], str]] = {
    "live": ((1.0, 100.0), "dmos"),
    "csiq": ((0.0, 1.0), "dmos"),
    "tid2013": ((0.0, 9.0), "mos"),
    "kadid10k": ((1.0, 5.0), "mos"),
    "flive": ((1.0, 100.0), "mos"),
    "spaq": ((1.0, 100.0), "mos"),
    "clive": ((1.0, 100.0), "mos"),
    "koniq10k": ((1.0, 100.0), "mos"),
}

# What a damaged or foreign file makes torch.load and torch.jit.load raise.
READ_ERRORS = (OSError, RuntimeError, ValueError, KeyError, EOFError, AttributeError, pickle.UnpicklingError)

T = TypeVar("T")


def encoder_hash(encoder: nn.Module) -> str:
    """Identifies the weights of an encoder's backbone: 16 hexadecimal digits.

    They begin the SHA-256 over name, shape and bytes of every `model.*` tensor in name order, without the
    counters `num_batches_tracked`, which do not affect the features.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(encoder.state_dict().items()):
        if name.startswith("model.") and not name.endswith("num_batches_tracked"):
            digest.update(f"{name} {tuple(tensor.shape)}".encode())
            digest.update(memoryview(tensor.detach().cpu().contiguous().numpy()).cast("B"))
    return digest.hexdigest()[:16]


def load_encoder(path: str | Path, use_norm: bool = True) -> ResNet:
    """The encoder in that file, on the CPU, in evaluation mode.

    Args:
        path: the released ARNIQA.pth or a best_epoch_*.pth of ours, whose names have the prefix `encoder.`.
        use_norm: as in `ResNet`; the files do not say it.

    Raises:
        WeightsError: the file is missing, damaged or holds anything but the weights of this encoder.
    """

    path = Path(path)
    state = _torch_load(path, "the weights of an encoder")
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise WeightsError(f"{path}: not the weights of an encoder; give an ARNIQA.pth or a best_epoch_*.pth")
    if state and all(name.startswith("encoder.") for name in state):
        state = {name.removeprefix("encoder."): value for name, value in state.items()}
    head = state.get("projector.2.weight")
    if head is None or head.ndim != 2:
        raise WeightsError(f"{path}: not the weights of an encoder: it lacks the matrix projector.2.weight")
    with torch.device("meta"):  # no memory and no random initialisation for weights that are replaced at once
        encoder = ResNet(embedding_dim=head.shape[0], pretrained=False, use_norm=use_norm)
    state = {name: value.float() if value.is_floating_point() else value for name, value in state.items()}
    try:
        encoder.load_state_dict(state, strict=True, assign=True)
    except RuntimeError as error:
        reasons = [line.strip() for line in str(error).splitlines()[1:]]
        raise WeightsError(f"{path}: the weights of another model ({_shorten(' '.join(reasons))})") from error
    _check_finite(path, state)
    return encoder.eval()


def find_best_checkpoint(experiment_dir: str | Path) -> Path:
    """The weights that an experiment's validation found best: its `pretrain/best_epoch_*.pth`.

    Two exist only after a kill between writing one and removing the one before; the later epoch is better.

    Raises:
        WeightsError: there is none.
    """
    folder = Path(experiment_dir) / "pretrain"
    numbered = [
        (int(match[1]), path)
        for path in folder.glob("best_epoch_*.pth")
        if (match := re.match(r"best_epoch_(\d+)_", path.name))
    ]
    if not numbered:
        raise WeightsError(f"{folder}: no best_epoch_*.pth there; train the experiment first (main.py)")
    return max(numbered)[1]


def save_regressor(
    path: str | Path,
    weights: Any,
    biases: Any,
    dataset: str,
    alpha: float,
    mos_range: Sequence[float],
    mos_type: str,
    encoder_hash: str,
    srocc: float,
    plcc: float,
) -> None:
    """Writes a regressor as a dict that `torch.load(..., weights_only=True)` reads; whole or not at all.

    Args:
        path: the file, usually experiments/<name>/regressors/regressor_<dataset>.pth; folders are made.
        weights: 4096 coefficients (array or tensor, flat or 1 x 4096).
        biases: the intercept.
        dataset: name of the dataset that it was fitted on, with `mos_range` (lowest, highest) and `mos_type`
            ("mos": higher is better, "dmos": lower is better) of its scores.
        alpha: the ridge penalty.
        encoder_hash: `encoder_hash` of the encoder whose features it was fitted on.
        srocc, plcc: its test correlations, medians over the splits.

    Raises:
        WeightsError: the file cannot be written.
    """
    content = {
        "weights": torch.as_tensor(weights, dtype=torch.float32).reshape(1, EMBEDDING_DIM).clone(),
        "biases": torch.as_tensor(biases, dtype=torch.float32).reshape(()).clone(),
        "dataset": dataset,
        "alpha": float(alpha),
        "mos_range": [float(mos_range[0]), float(mos_range[1])],
        "mos_type": mos_type,
        "encoder_hash": encoder_hash,
        "srocc": float(srocc),
        "plcc": float(plcc),
    }
    write_whole(Path(path), lambda partial: torch.save(content, partial))


def write_whole(path: Path, write: Callable[[Path], None]) -> None:
    """Makes a file by calling `write` with a name beside it and renaming the result: whole or not at all.

    Raises:
        WeightsError: the file cannot be written.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(partial)
        partial.replace(path)
    except (OSError, RuntimeError) as error:  # torch reports a full disk as a RuntimeError
        partial.unlink(missing_ok=True)
        raise WeightsError(f"{path}: cannot be written ({_shorten(error)})") from error


def load_regressor(path: str | Path, encoder_hash: str | None = None) -> tuple[nn.Linear, dict[str, Any]]:
    """The linear regressor in that file, 4096 -> 1, and what the file says of it.

    Args:
        path: a file that `save_regressor` wrote, or a released TorchScript archive, of which only the two
            tensors are taken.
        encoder_hash: of the encoder to be used with it; a file that names another is an error.

    Returns:
        The regressor, and a dict with at least `dataset`, `mos_range` and `mos_type`; a file of ours also
        gives `alpha`, `encoder_hash`, `srocc` and `plcc`. For a released file they follow from its name.

    Raises:
        WeightsError: the file is missing, damaged, of another kind or shape, or belongs to another encoder.
    """
    path = Path(path)
    if _is_torchscript(path):
        content: Any = _released_content(path)
    else:
        content = _torch_load(path, "a regressor")
    required = {"weights", "biases", "dataset", "mos_range", "mos_type"}
    missing = sorted(required - set(content)) if isinstance(content, dict) else sorted(required)
    if missing:
        raise WeightsError(f"{path}: not a regressor: it lacks {', '.join(missing)}")
    weights, biases = content.pop("weights"), content.pop("biases")
    if not isinstance(weights, Tensor) or tuple(weights.shape) != (1, EMBEDDING_DIM):
        found = tuple(weights.shape) if isinstance(weights, Tensor) else type(weights).__name__
        raise WeightsError(f"{path}: weights are {found}, not (1, {EMBEDDING_DIM}): the regressor of another model")
    if not isinstance(biases, Tensor) or biases.numel() != 1:
        found = tuple(biases.shape) if isinstance(biases, Tensor) else type(biases).__name__
        raise WeightsError(f"{path}: biases are {found}, not one number: the regressor of another model")
    low, high = content["mos_range"]
    if not low < high or content["mos_type"] not in ("mos", "dmos"):
        raise WeightsError(f"{path}: score range {low}..{high} of type {content['mos_type']!r} has no meaning")
    _check_finite(path, {"weights": weights, "biases": biases})
    fitted_on = content.get("encoder_hash")
    if encoder_hash is not None and fitted_on is not None and fitted_on != encoder_hash:
        raise WeightsError(
            f"{path}: fitted on the features of encoder {fitted_on}, not of this one ({encoder_hash}); "
            "run test.py again to fit it on this one"
        )
    regressor = nn.Linear(EMBEDDING_DIM, 1, device="meta")
    regressor.load_state_dict({"weight": weights.float(), "bias": biases.float().reshape(1)}, assign=True)
    return regressor.eval(), content


def published_encoder(weights_dir: str | Path | None = None) -> ResNet:
    """The released encoder: ARNIQA.pth from `weights_dir`, else ARNIQA_WEIGHTS_DIR, else fetched and cached.

    Raises:
        WeightsError: the file is missing, cannot be fetched or does not fit.
    """
    return _published("ARNIQA.pth", weights_dir, load_encoder)


def published_regressor(dataset: str, weights_dir: str | Path | None = None) -> tuple[nn.Linear, dict[str, Any]]:
    """The released regressor of one of the eight datasets; from where `published_encoder` takes its file.

    Raises:
        WeightsError: not one of the eight datasets, or the file is missing, not to be had or does not fit.
    """
    if dataset not in RELEASED_SCORES:
        raise WeightsError(f"no regressor is released for {dataset!r}; there are {', '.join(RELEASED_SCORES)}")
    return _published(f"regressor_{dataset}.pth", weights_dir, load_regressor)


def _published(name: str, weights_dir: str | Path | None, load: Callable[[Path], T]) -> T:
    """Loads a released file from the folder given, else from torch.hub's cache, fetching it where needed."""
    folder = weights_dir or os.environ.get(WEIGHTS_DIR_VARIABLE)
    if folder:
        return load(Path(folder) / name)
    cache = Path(torch.hub.get_dir()) / "checkpoints"
    path = cache / name
    if path.exists():
        return load(path)
    url = f"{RELEASE_URL}/{name}"
    # Fetched into a folder of its own and moved once it has loaded, so that a cut download leaves nothing.
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as temporary:
            fetched = Path(temporary) / name
            torch.hub.download_url_to_file(url, str(fetched))
            content = load(fetched)
            fetched.replace(path)
    except (OSError, RuntimeError) as error:
        raise WeightsError(
            f"cannot get {url} ({_shorten(error)}): try again, or put {name} into a folder and name it in "
            f"weights_dir or {WEIGHTS_DIR_VARIABLE}"
        ) from error
    return content


def _torch_load(path: Path, what: str) -> Any:
    """Content of a file that torch.save wrote, tensors and plain values only, on the CPU."""
    if not path.is_file():
        raise WeightsError(f"{path}: no such file; it should hold {what}")
    if _is_torchscript(path):
        raise WeightsError(f"{path}: a TorchScript archive; it should hold {what}")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except READ_ERRORS as error:
        raise WeightsError(
            f"{path}: damaged, or does not hold {what} ({_shorten(error)}); remove it and get it again"
        ) from error


def _is_torchscript(path: Path) -> bool:
    """Whether the file is a TorchScript archive: a zip file with members code/..., unlike torch.save's."""
    if not path.is_file() or not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any("/code/" in name for name in archive.namelist())


def _released_content(path: Path) -> dict[str, Any]:
    """The two tensors of a released regressor; the range of its scores follows from the file's name."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # the released files are in this form
            state = torch.jit.load(str(path), map_location="cpu").state_dict()
    except READ_ERRORS as error:
        raise WeightsError(f"{path}: damaged ({_shorten(error)}); remove it and get it again") from error
    if set(state) != {"weights", "biases"}:
        raise WeightsError(f"{path}: not a regressor: it holds {', '.join(state)}, not weights and biases")
    dataset = path.stem.removeprefix("regressor_")
    if dataset not in RELEASED_SCORES:
        raise WeightsError(
            f"{path}: its name must be regressor_<dataset>.pth with one of {', '.join(RELEASED_SCORES)}, "
            "because the file does not say the range of its scores"
        )
    mos_range, mos_type = RELEASED_SCORES[dataset]
    return {
        **{k: v.detach() for k, v in state.items()},
        "dataset": dataset,
        "mos_range": mos_range,
        "mos_type": mos_type,
    }


def _check_finite(path: Path, tensors: dict[str, Tensor]) -> None:
    for name, tensor in tensors.items():
        if not torch.isfinite(tensor).all():
            raise WeightsError(f"{path}: {name} has values that are not finite; the file is damaged")


def _shorten(reason: object) -> str:
    """One line of at most 200 characters."""
    line = " ".join(str(reason).split())
    return line if len(line) <= 200 else line[:197] + "..."
