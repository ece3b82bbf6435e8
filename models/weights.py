"""Loads, checks and writes weights files.

The release consists of `ARNIQA.pth` (the encoder's state dict) and one `regressor_<dataset>.pth` per dataset (a
TorchScript archive with two tensors). An experiment of this project has `pretrain/best_epoch_*.pth` (the same state
dict with the prefix `encoder.`) and `regressors/regressor_<dataset>.pth` (a dict saved by torch.save).
"""

import hashlib
import json
import math
import os
import pickle
import warnings
import zipfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import torch
from torch import Tensor, nn

from .download import WEIGHTS_DIR_VARIABLE, downloaded
from .errors import WeightsError, shorten
from .names import check_name
from .resnet import ResNet
from .torchscript import UnknownForm, is_torchscript, read_torchscript

TORCHSCRIPT_VARIABLE = "ARNIQA_ALLOW_TORCHSCRIPT"  # "1" trusts the code in TorchScript archives
ABOUT = "about.json"  # extra file of a regressor that this project exported: what the released ones do not say
# What a regressor sees: the features of the image, or their distances to those of its reference image.
KINDS = {"no_reference": "use it without --reference", "full_reference": "use it with --reference"}
# Of the scores that the released regressors were fitted on; made by data/score_quantiles.py.
SCORE_QUANTILES = Path(__file__).with_name("score_quantiles.json")
EMBEDDING_DIM = 4096  # 2048 features of the full-scale image, then 2048 of the half-scale one

# Nominal (lowest, highest) score that the released regressors predict, and whether a higher score ("mos") or a lower
# score ("dmos") is better.
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

# Exceptions that torch.load and torch.jit.load raise for a damaged file or a file of another kind.
READ_ERRORS = (OSError, RuntimeError, ValueError, KeyError, EOFError, AttributeError, pickle.UnpicklingError)

T = TypeVar("T")


def encoder_hash(encoder: ResNet) -> str:
    """Hash of the weights of an encoder's backbone: 16 hexadecimal digits.

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


def regressor_hash(regressor: nn.Linear, mos_range: Sequence[float], mos_type: str) -> str:
    """Hash of all that turns features into scores: 16 hexadecimal digits.

    These are the first digits of the SHA-256 of its float32 weights and bias, and of the scores' range and direction.
    """
    tensors = [tensor.detach().cpu().contiguous().numpy() for tensor in (regressor.weight, regressor.bias)]
    digest = hashlib.sha256(b"".join(tensor.tobytes() for tensor in tensors))
    digest.update(f"{[float(value) for value in mos_range]} {mos_type}".encode())
    return digest.hexdigest()[:16]


def load_encoder(path: str | Path) -> ResNet:
    """Loads an encoder to the CPU, in evaluation mode.

    Args:
        path: the released ARNIQA.pth, or the best_epoch_*.pth of an experiment (names with the prefix `encoder.`).

    The file also says whether the encoder normalises its features (`use_norm` of `ResNet`); if it does not say, as the
    released file, it does.

    Raises:
        WeightsError: the file is missing, damaged or does not contain exactly the weights of this encoder.
    """
    path = Path(path)
    state = _torch_load(path, "the weights of an encoder")
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise WeightsError(f"{path}: not the weights of an encoder; use an ARNIQA.pth or a best_epoch_*.pth")
    prefix = "encoder" if state and all(name.startswith("encoder.") for name in state) else ""
    use_norm = getattr(state, "_metadata", {}).get(prefix, {}).get("use_norm", True)
    if prefix:
        state = {name.removeprefix("encoder."): value for name, value in state.items()}
    head = state.get("projector.2.weight")
    if head is None or head.ndim != 2:
        raise WeightsError(
            f"{path}: not the weights of an encoder (no matrix projector.2.weight); use an ARNIQA.pth or a "
            "best_epoch_*.pth"
        )
    with torch.device("meta"):  # skips the allocation and initialisation of weights that are replaced below
        encoder = ResNet(embedding_dim=head.shape[0], pretrained=False, use_norm=use_norm)
    state = {name: value.float() if value.is_floating_point() else value for name, value in state.items()}
    try:
        encoder.load_state_dict(state, strict=True, assign=True)
    except RuntimeError as error:
        reasons = [line.strip() for line in str(error).splitlines()[1:]]
        raise WeightsError(
            f"{path}: weights of another model ({shorten(' '.join(reasons))}); use an ARNIQA.pth or a best_epoch_*.pth"
        ) from error
    _check_finite(path, state)
    return encoder.eval()


def save_regressor(
    path: str | Path,
    weights: Any,
    biases: Any,
    dataset: str,
    alpha: float,
    mos_range: Sequence[float],
    mos_type: str,
    encoder_hash: str,
    crop_size: int,
    shorter_side: int | None,
    precision: str,
    srocc: float,
    plcc: float,
    kind: str = "no_reference",
    score_quantiles: Sequence[float] | None = None,
    score_kind: str = "unstated",
) -> None:
    """Writes a regressor atomically, as a dict that `torch.load(..., weights_only=True)` can read.

    Args:
        path: usually experiments/<name>/regressors/regressor_<dataset>.pth. Missing folders are created.
        weights: 4096 coefficients (array or tensor, shape (4096,) or (1, 4096)).
        biases: the intercept.
        dataset: name of the dataset that the regressor was fitted on.
        alpha: the ridge penalty.
        mos_range: (lowest, highest) nominal score of the dataset.
        mos_type: "mos" if a higher score is better, "dmos" if a lower score is better.
        encoder_hash: `encoder_hash` of the encoder that computed the features.
        crop_size: side in pixels of the crops that it was fitted on.
        shorter_side: in pixels, to which the images were resized before they were cropped; None: they were not.
        precision: of the arithmetic that computed the features, as in `test.precision`.
        srocc, plcc: test correlations, medians over the splits.
        kind: one of `KINDS`.
        score_quantiles: of the scores of the images that it was fitted on, ascending at equal steps from 0 % to 100 %,
            on the scale of `ARNIQA`'s scores: `mos_range` is mapped to [0, 1], and higher is better. None leaves them
            out; then no score has a rank.
        score_kind: whose scores the dataset has: "human", "pseudo" (computed by a measure) or "unstated".

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
        "crop_size": int(crop_size),
        "shorter_side": shorter_side,
        "precision": precision,
        "srocc": float(srocc),
        "plcc": float(plcc),
        "kind": kind,
        "score_kind": score_kind,
    }
    if score_quantiles is not None:
        content["score_quantiles"] = [float(value) for value in score_quantiles]
    write_whole(Path(path), lambda file: torch.save(content, file))


def write_whole(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Writes a file atomically: after a kill or a power failure, `path` has either the new or the old content.

    `utils/runtime/files.py` has the same function for the rest of the project. Modules that torch.hub loads cannot
    import it.

    Raises:
        WeightsError: the file cannot be written.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except (OSError, RuntimeError) as error:  # torch reports a full disk as a RuntimeError
        if isinstance(error.__context__, KeyboardInterrupt):  # and so it does Ctrl-C
            raise KeyboardInterrupt from None
        raise WeightsError(f"{path}: cannot be written ({shorten(error)})") from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def load_regressor(
    path: str | Path, encoder_hash: str | None = None, kind: str = "no_reference"
) -> tuple[nn.Linear, dict[str, Any]]:
    """Loads a linear regressor (4096 -> 1) and its metadata.

    Args:
        path: a file written by `save_regressor`, or a released TorchScript archive. Only the two tensors of an archive
            are used.
        encoder_hash: hash of the encoder that the regressor will be used with. It is an error if the file has a
            different hash.
        kind: one of `KINDS`, which the regressor must be; a file that does not say is "no_reference".

    Returns:
        The regressor, and a dict with at least `dataset`, `mos_range` and `mos_type`. For a released file, these three
        are derived from the file name. A file written by `save_regressor`, and its export, also have `alpha`,
        `encoder_hash`, `crop_size`, `shorter_side`, `precision`, `kind`, `srocc` and `plcc`. Where they are known,
        there are `score_quantiles` and `score_kind`, which is "human" for a released file.

    Raises:
        WeightsError: the file is missing or damaged, is not a regressor of this shape and kind, or was fitted on the
            features of another encoder.
    """
    path = Path(path)
    if is_torchscript(path):
        content: Any = _released_content(path)
    else:
        content = _torch_load(path, "a regressor")
    required = {"weights", "biases", "dataset", "mos_range", "mos_type"}
    missing = sorted(required - set(content)) if isinstance(content, dict) else sorted(required)
    if missing:
        raise WeightsError(f"{path}: not a regressor ({', '.join(missing)} missing); use a regressor_<dataset>.pth")
    found_kind = content.get("kind", "no_reference")
    if found_kind != kind:
        raise WeightsError(
            f"{path}: its kind is {found_kind}, not {kind}; {KINDS.get(found_kind, 'run test.py again')}"
        )
    weights, biases = content.pop("weights"), content.pop("biases")
    if not isinstance(weights, Tensor) or tuple(weights.shape) != (1, EMBEDDING_DIM):
        found = tuple(weights.shape) if isinstance(weights, Tensor) else type(weights).__name__
        raise WeightsError(f"{path}: weights: found {found}; expected a tensor of shape (1, {EMBEDDING_DIM})")
    if not isinstance(biases, Tensor) or biases.numel() != 1:
        found = tuple(biases.shape) if isinstance(biases, Tensor) else type(biases).__name__
        raise WeightsError(f"{path}: biases: found {found}; expected a tensor with one number")
    low, high = content["mos_range"]
    if not low < high or content["mos_type"] not in ("mos", "dmos"):
        raise WeightsError(
            f"{path}: mos_range is {low}..{high} and mos_type is {content['mos_type']!r}; expected lowest < highest, "
            "and mos or dmos"
        )
    _check_finite(path, {"weights": weights, "biases": biases})
    if not _ascending(content.get("score_quantiles", [0.0, 1.0])):
        raise WeightsError(f"{path}: score_quantiles: expected a list of ascending numbers; run test.py again")
    if encoder_hash is not None:
        check_fitted_on(path, content, encoder_hash)
    regressor = nn.Linear(EMBEDDING_DIM, 1, device="meta")
    regressor.load_state_dict({"weight": weights.float(), "bias": biases.float().reshape(1)}, assign=True)
    return regressor.eval(), content


def check_fitted_on(path: str | Path, about: Mapping[str, Any], encoder_hash: str) -> None:
    """Refuses a regressor whose metadata names another encoder. The released files name none.

    Raises:
        WeightsError: it was fitted on the features of another encoder.
    """
    if about.get("encoder_hash", encoder_hash) != encoder_hash:
        raise WeightsError(
            f"{path}: fitted on the features of encoder {about['encoder_hash']}, but this encoder is {encoder_hash}; "
            "run test.py again to fit a new regressor"
        )


def published_encoder(weights_dir: str | Path | None = None) -> ResNet:
    """Loads the released encoder from ARNIQA.pth.

    The file is read from `weights_dir` or, by default, from the folder in the environment variable ARNIQA_WEIGHTS_DIR.
    If neither is set, it is downloaded once (`downloaded`).

    Raises:
        WeightsError: the file is missing, invalid or cannot be downloaded.
    """
    return _published("ARNIQA.pth", weights_dir, load_encoder)


def published_regressor(dataset: str, weights_dir: str | Path | None = None) -> tuple[nn.Linear, dict[str, Any]]:
    """Loads the regressor of a dataset, from the same places as `published_encoder`.

    Raises:
        WeightsError: the dataset is neither one of the eight nor one with a file in the folder, or the file is invalid
            or cannot be downloaded.
    """
    check_name("regressor_dataset", dataset)
    folder = weights_dir or os.environ.get(WEIGHTS_DIR_VARIABLE)
    if dataset not in RELEASED_SCORES and not (folder and (Path(folder) / f"regressor_{dataset}.pth").is_file()):
        raise WeightsError(
            f"{dataset}: the release has no regressor for it; use one of {', '.join(RELEASED_SCORES)}"
            + (f", or one of which {folder} has a regressor_<dataset>.pth" if folder else "")
        )
    return _published(f"regressor_{dataset}.pth", weights_dir, load_regressor)


def _published(name: str, weights_dir: str | Path | None, load: Callable[[Path], T]) -> T:
    """Loads a released file from a folder or, by default, from what was or is downloaded."""
    folder = weights_dir or os.environ.get(WEIGHTS_DIR_VARIABLE)
    return load(Path(folder) / name) if folder else downloaded(name, load)


def _torch_load(path: Path, what: str) -> Any:
    """Loads a torch.save file to the CPU; only tensors and plain values are allowed."""
    if not path.is_file():
        found = "not a regular file" if path.exists() else "no such file"
        raise WeightsError(f"{path}: {found}; expected a file with {what}")
    if is_torchscript(path):
        raise WeightsError(f"{path}: a TorchScript archive; expected a file with {what}")
    with path.open("rb") as file:
        if file.read(1) == b"<":
            raise WeightsError(f"{path}: a web page, as after a failed download; expected a file with {what}")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except READ_ERRORS as error:
        raise WeightsError(
            f"{path}: damaged, or not a file with {what} ({shorten(error)}); delete it and download or create it again"
        ) from error


def _released_content(path: Path) -> dict[str, Any]:
    """The two tensors of a released or exported regressor, and its metadata or those that belong to its file name."""
    try:
        state, extra = read_torchscript(path, ABOUT)
        about = json.loads(extra) if extra else None
    except UnknownForm as error:
        if os.environ.get(TORCHSCRIPT_VARIABLE) != "1":
            raise WeightsError(
                f"{path}: a TorchScript archive of an unknown form ({shorten(error)}); if you trust its source, set "
                f"{TORCHSCRIPT_VARIABLE}=1 to have torch.jit.load read it, which runs code that the file contains"
            ) from error
        state, about = _jit_load(path), None
    except (OSError, zipfile.BadZipFile, ValueError) as error:
        raise WeightsError(f"{path}: damaged ({shorten(error)}); delete it and download it again") from error
    if set(state) != {"weights", "biases"}:
        raise WeightsError(f"{path}: not a regressor (it has {', '.join(state)}); expected weights and biases")
    tensors = {name: value.detach() for name, value in state.items()}
    if about is not None:
        return {**about, **tensors}
    dataset = path.stem.removeprefix("regressor_")
    if dataset not in RELEASED_SCORES:
        raise WeightsError(
            f"{path}: the score range is unknown because it depends on the file name; rename the file to "
            f"regressor_<dataset>.pth with one of {', '.join(RELEASED_SCORES)}"
        )
    mos_range, mos_type = RELEASED_SCORES[dataset]
    content = {"dataset": dataset, "mos_range": mos_range, "mos_type": mos_type, "score_kind": "human", **tensors}
    quantiles = json.loads(SCORE_QUANTILES.read_text(encoding="utf-8"))
    return {**content, "score_quantiles": quantiles[dataset]} if dataset in quantiles else content


def _jit_load(path: Path) -> dict[str, Tensor]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # TorchScript is deprecated
            return torch.jit.load(str(path), map_location="cpu").state_dict()
    except READ_ERRORS as error:
        raise WeightsError(f"{path}: damaged ({shorten(error)}); delete it and download it again") from error


def _ascending(values: Any) -> bool:
    """Whether these are two finite numbers or more, none lower than the one before."""
    numbers = isinstance(values, list) and all(isinstance(v, int | float) and math.isfinite(v) for v in values)
    return numbers and len(values) > 1 and values == sorted(values)


def _check_finite(path: Path, tensors: dict[str, Tensor]) -> None:
    for name, tensor in tensors.items():
        if not torch.isfinite(tensor).all():
            raise WeightsError(f"{path}: {name} has values that are not finite; use an undamaged file")
