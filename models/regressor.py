"""The linear regressor on the encoder's features, and its file (paper section 3.3)."""

import hashlib
import json
import os
import re
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .errors import WeightsError, shorten
from .files import parsing, write_atomic
from .names import ALLOWED, NAME
from .torchscript import UnknownForm, is_torchscript, read_torchscript
from .weights_file import check_archive, read_weights

ABOUT = "about.json"  # extra file in an exported regressor, with metadata that the released ones lack
TORCHSCRIPT_VARIABLE = "ARNIQA_ALLOW_TORCHSCRIPT"  # "1" trusts the code in TorchScript archives
# Quantiles of the scores that the released regressors were fitted on, made by data/score_quantiles.py.
SCORE_QUANTILES = Path(__file__).with_name("score_quantiles.json")
EMBEDDING_DIM = 4096  # 2048 features of the full-scale image, then 2048 of the half-scale one
MAX_SIDE = 8192  # largest side of a crop or a resized image in pixels; larger ones do not fit into memory

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
PRECISIONS = ("float32", "tf32", "float16", "bfloat16")
SCORE_KINDS = {  # kind -> description
    "human": "human scores",
    "pseudo": "pseudo-scores, computed by a measure and not human",
    "level": "known levels of degradation, not human scores",
    "unstated": "scores of unstated origin",
}


def _is_tensor(value: Any, size: int) -> bool:
    dense = isinstance(value, Tensor) and value.layout == torch.strided and not value.is_meta
    return dense and value.numel() == size and bool(torch.isfinite(value).all())


def _is_range(value: Any) -> bool:
    return _are_numbers(value) and len(value) == 2 and value[0] < value[1]


def _are_numbers(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(
        isinstance(number, int | float) and abs(number) <= sys.float_info.max for number in value
    )


def _is_side(value: Any, lowest: int) -> bool:
    return type(value) is int and lowest <= value <= MAX_SIDE


# Fields that scores depend on -> check, allowed values.
CHECKS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "weights": (lambda value: _is_tensor(value, EMBEDDING_DIM), f"{EMBEDDING_DIM} numbers"),
    "biases": (lambda value: _is_tensor(value, 1), "a number"),
    "dataset": (lambda value: isinstance(value, str) and bool(re.fullmatch(NAME, value)), ALLOWED),
    "mos_range": (_is_range, "[lowest, highest]"),
    "mos_type": (lambda value: value in ("mos", "dmos"), "mos, dmos"),
    "crop_size": (lambda value: _is_side(value, 1), f"integer in [1, {MAX_SIDE}]"),
    "shorter_side": (lambda value: value is None or _is_side(value, 32), f"integer in [32, {MAX_SIDE}]"),
    "precision": (lambda value: value in PRECISIONS, ", ".join(PRECISIONS)),
    "score_quantiles": (
        lambda value: value is None or (_are_numbers(value) and len(value) > 1 and list(value) == sorted(value)),
        "ascending numbers",
    ),
    "score_kind": (lambda value: isinstance(value, str) and value in SCORE_KINDS, ", ".join(SCORE_KINDS)),
}


@dataclass(frozen=True)
class Regressor:
    """Linear regressor (4096 -> 1) with the metadata of its file.

    Attributes:
        weights: 1 x 4096 coefficients, float32.
        biases: intercept, a float32 tensor without dimensions.
        dataset: name of the dataset it was fitted on.
        mos_range: (lowest, highest) nominal score of the dataset.
        mos_type: "mos" if a higher score is better, "dmos" if a lower score is better.
        alpha: ridge penalty.
        encoder_hash: `encoder_hash` of the encoder that computed the features.
        crop_size: side of the crops in pixels.
        shorter_side: shorter side in pixels to which images were resized before cropping; None: not resized.
        precision: precision of the features.
        srocc, plcc: test correlations, medians over the splits.
        kind: "no_reference" if fitted on features, "full_reference" if fitted on their distances to the features of
            the reference image.
        score_quantiles: quantiles of the dataset's scores at equal steps from 0 % to 100 %, on the scale of `ARNIQA`'s
            scores: `mos_range` is mapped to [0, 1], and higher is better.
        score_kind: kind of the dataset's scores, one of `SCORE_KINDS`.

    Raises:
        WeightsError: a value has the wrong type or is out of range.
    """

    weights: Tensor
    biases: Tensor
    dataset: str
    mos_range: tuple[float, float]
    mos_type: str
    alpha: float | None = None
    encoder_hash: str | None = None
    crop_size: int = 224
    shorter_side: int | None = None
    precision: str = "float32"
    srocc: float | None = None
    plcc: float | None = None
    kind: str = "no_reference"
    score_quantiles: list[float] | None = None
    score_kind: str = "unstated"

    def __post_init__(self) -> None:
        for name, (is_allowed, allowed) in CHECKS.items():
            if not is_allowed(getattr(self, name)):
                raise WeightsError(f"{name}: found {shorten(repr(getattr(self, name)))}; allowed: {allowed}")
        set_value = object.__setattr__
        set_value(self, "weights", self.weights.detach().float().reshape(1, EMBEDDING_DIM).clone())
        set_value(self, "biases", self.biases.detach().float().reshape(()).clone())
        low, high = self.mos_range
        set_value(self, "mos_range", (float(low), float(high)))

    @property
    def hash(self) -> str:
        """Hash of the mapping from features to scores: 16 hexadecimal digits.

        These are the first digits of the SHA-256 of the float32 weights and bias, and the range and direction of the
        scores.
        """
        digest = hashlib.sha256(self.weights.numpy().tobytes() + self.biases.numpy().tobytes())
        digest.update(f"{list(self.mos_range)} {self.mos_type}".encode())
        return digest.hexdigest()[:16]

    @property
    def about(self) -> dict[str, Any]:
        """Fields except the tensors, as plain values."""
        values = {field.name: getattr(self, field.name) for field in fields(self)[2:]}
        return {**values, "mos_range": list(self.mos_range)}

    def check_fitted_on(self, encoder_hash: str, name: str) -> None:
        """Checks that the regressor was fitted on features of this encoder, if its file names the encoder.

        Args:
            encoder_hash: hash of the encoder.
            name: file name, the start of the message.

        Raises:
            WeightsError: the regressor was fitted on features of another encoder.
        """
        if self.encoder_hash not in (None, encoder_hash):
            raise WeightsError(
                f"{name}: fitted on the features of encoder {self.encoder_hash}, but this encoder is {encoder_hash}; "
                "run test.py again to fit a new regressor"
            )

    def linear(self) -> nn.Linear:
        """Returns the regressor as a layer 4096 -> 1, in evaluation mode."""
        layer = nn.Linear(EMBEDDING_DIM, 1, device="meta")
        layer.load_state_dict({"weight": self.weights, "bias": self.biases.reshape(1)}, assign=True)
        return layer.eval()

    def save(self, path: Path) -> None:
        """Writes the file atomically, as a dict that `torch.load(..., weights_only=True)` reads.

        Raises:
            UserError: the file cannot be written.
        """
        content = {"weights": self.weights, "biases": self.biases, **self.about}
        write_atomic(path, lambda file: torch.save(content, file))

    def save_released(self, path: Path) -> None:
        """Writes a TorchScript archive in the form of the release, with `about` as an extra file.

        Raises:
            UserError: the file cannot be written.
        """
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # TorchScript is deprecated, but other toolboxes expect it
            script = torch.jit.script(_Released(self))
            extra = {ABOUT: json.dumps(self.about)}
            write_atomic(path, lambda file: torch.jit.save(script, file, _extra_files=extra))


class _Released(nn.Module):
    """A regressor with the parameter names of the release: `weights` (1 x 4096) and `biases` (scalar)."""

    def __init__(self, regressor: Regressor) -> None:
        super().__init__()
        self.weights = nn.Parameter(regressor.weights.clone(), requires_grad=False)
        self.biases = nn.Parameter(regressor.biases.clone(), requires_grad=False)

    def forward(self, embedding: Tensor) -> Tensor:
        """Computes the scores of embeddings: N x 4096 -> N x 1."""
        return embedding @ self.weights.T + self.biases


def load_regressor(path: str | Path, kind: str = "no_reference") -> Regressor:
    """Loads a regressor written by `Regressor.save`, or a released or exported TorchScript archive.

    A released archive contains only the two tensors; the dataset is derived from the file name.

    Args:
        path: file path.
        kind: expected kind, "no_reference" or "full_reference".

    Raises:
        WeightsError: the file is missing or damaged, or is not a regressor of this kind.
    """
    path = Path(path)
    check_archive(path, "a regressor")
    content = _archive_content(path) if is_torchscript(path) else read_weights(path, "a regressor")
    required = ("weights", "biases", "dataset", "mos_range", "mos_type")
    missing = [name for name in required if not isinstance(content, dict) or name not in content]
    if missing:
        raise WeightsError(f"{path}: not a regressor ({', '.join(missing)} missing); use a regressor_<dataset>.pth")
    known = {field.name: content[field.name] for field in fields(Regressor) if field.name in content}
    try:
        regressor = Regressor(**known)
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}; use an undamaged file, or run test.py again") from error
    if regressor.kind != kind:
        use = "with" if regressor.kind == "full_reference" else "without"
        raise WeightsError(f"{path}: its kind is {regressor.kind}, not {kind}; use it {use} a reference image")
    return regressor


def _archive_content(path: Path) -> dict[str, Any]:
    """Returns the tensors of a TorchScript archive, and its metadata, which a release derives from the file name."""
    try:
        state, extra = read_torchscript(path, ABOUT)
    except UnknownForm as error:
        if os.environ.get(TORCHSCRIPT_VARIABLE) != "1":
            raise WeightsError(
                f"{path}: a TorchScript archive of an unknown form ({shorten(error)}); if you trust its source, set "
                f"{TORCHSCRIPT_VARIABLE}=1 to have torch.jit.load read it, which runs code that the file contains"
            ) from error
        try:
            state, extra = torch.jit.load(str(path), map_location="cpu").state_dict(), None
        except RuntimeError as damage:
            raise WeightsError(f"{path}: damaged ({shorten(damage)}); delete it and download it again") from damage
    if extra:
        with parsing(path, "a regressor"):
            return {**json.loads(extra), **state}
    dataset = path.stem.removeprefix("regressor_")
    if dataset not in RELEASED_SCORES:
        raise WeightsError(
            f"{path}: the score range is unknown because it depends on the file name; rename the file to "
            f"regressor_<dataset>.pth with one of {', '.join(RELEASED_SCORES)}"
        )
    mos_range, mos_type = RELEASED_SCORES[dataset]
    quantiles = json.loads(SCORE_QUANTILES.read_text(encoding="utf-8")).get(dataset)
    known = {"dataset": dataset, "mos_range": mos_range, "mos_type": mos_type, "score_kind": "human"}
    return {**known, "score_quantiles": quantiles, **state}
