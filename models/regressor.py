"""The linear regressor on the encoder's features, and its file (paper section 3.3)."""

import hashlib
import json
import math
import os
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .errors import UserError, WeightsError, shorten
from .files import write_atomic
from .names import check_name
from .torchscript import UnknownForm, is_torchscript, read_torchscript
from .weights_file import read_weights

ABOUT = "about.json"  # extra file of an exported regressor, with what the released ones do not say
TORCHSCRIPT_VARIABLE = "ARNIQA_ALLOW_TORCHSCRIPT"  # "1" trusts the code in TorchScript archives
# Quantiles of the scores that the released regressors were fitted on, made by data/score_quantiles.py.
SCORE_QUANTILES = Path(__file__).with_name("score_quantiles.json")
EMBEDDING_DIM = 4096  # 2048 features of the full-scale image, then 2048 of the half-scale one
LARGEST = 1e9  # of a score or a coefficient; beyond, float32 scores overflow
MAX_SIDE = 8192  # pixels of a crop or a resized image; larger ones do not fit into memory

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
CHOICES = {
    "mos_type": ("mos", "dmos"),
    "precision": ("float32", "tf32", "float16", "bfloat16"),
    "kind": ("no_reference", "full_reference"),
    "score_kind": ("human", "pseudo", "unstated"),
}


@dataclass(frozen=True)
class Regressor:
    """A linear regressor (4096 -> 1) and what its file says about it.

    Attributes:
        weights: 1 x 4096 coefficients, float32.
        biases: the intercept, a float32 tensor without dimensions.
        dataset: name of the dataset it was fitted on.
        mos_range: (lowest, highest) nominal score of the dataset.
        mos_type: "mos" if a higher score is better, "dmos" if a lower score is better.
        alpha: the ridge penalty.
        encoder_hash: `encoder_hash` of the encoder that computed the features.
        crop_size: side of the crops in pixels.
        shorter_side: in pixels, to which images were resized before they were cropped; None: not resized.
        precision: precision of the features.
        srocc, plcc: test correlations, medians over the splits.
        kind: whether it was fitted on features ("no_reference") or on their distances to those of the reference image
            ("full_reference").
        score_quantiles: quantiles of the scores of the dataset's images, at equal steps from 0 % to 100 %, on the scale
            of `ARNIQA`'s scores: `mos_range` is mapped to [0, 1], and higher is better.
        score_kind: kind of the dataset's scores: "human", "pseudo" (computed by a measure) or "unstated".

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
        set_value = object.__setattr__
        set_value(self, "weights", _tensor("weights", self.weights, (1, EMBEDDING_DIM)))
        set_value(self, "biases", _tensor("biases", self.biases, ()))
        if not isinstance(self.dataset, str):
            raise WeightsError(f"dataset: found {shorten(repr(self.dataset))}; allowed: a name")
        try:
            check_name("dataset", self.dataset)
        except UserError as error:
            raise WeightsError(str(error)) from error
        bounds = self.mos_range
        numbers = isinstance(bounds, list | tuple) and len(bounds) == 2 and _finite(bounds)
        if not (numbers and max(map(abs, bounds)) <= LARGEST and bounds[1] - bounds[0] >= 1 / LARGEST):
            raise WeightsError(
                f"mos_range: found {shorten(repr(bounds))}; allowed: [lowest, highest], numbers up to {LARGEST:.0e}"
            )
        set_value(self, "mos_range", (float(bounds[0]), float(bounds[1])))
        for name, allowed in CHOICES.items():
            if getattr(self, name) not in allowed:
                raise WeightsError(f"{name}: found {shorten(repr(getattr(self, name)))}; allowed: {', '.join(allowed)}")
        for name, low in (("crop_size", 1), ("shorter_side", 32)):
            value = getattr(self, name)
            missing = value is None and name == "shorter_side"
            if not missing and not (type(value) is int and low <= value <= MAX_SIDE):
                raise WeightsError(f"{name}: found {shorten(repr(value))}; allowed: integer in [{low}, {MAX_SIDE}]")
        for name in ("alpha", "srocc", "plcc"):
            value = getattr(self, name)
            if not isinstance(value, float | int | None) or isinstance(value, bool):
                raise WeightsError(f"{name}: found {shorten(repr(value))}; allowed: a number")
        identity = self.encoder_hash
        if identity is not None and not (isinstance(identity, str) and re.fullmatch("[0-9a-f]{16}", identity)):
            raise WeightsError(f"encoder_hash: found {shorten(repr(identity))}; allowed: 16 hexadecimal digits")
        quantiles = self.score_quantiles
        if quantiles is not None:
            ascending = isinstance(quantiles, list) and _finite(quantiles) and quantiles == sorted(quantiles)
            if not ascending or len(quantiles) < 2:
                raise WeightsError(f"score_quantiles: found {shorten(repr(quantiles))}; allowed: ascending numbers")

    @property
    def hash(self) -> str:
        """Hash of all that turns features into scores: 16 hexadecimal digits.

        These are the first digits of the SHA-256 of its float32 weights and bias, and of the scores' range and
        direction.
        """
        digest = hashlib.sha256(self.weights.numpy().tobytes() + self.biases.numpy().tobytes())
        digest.update(f"{list(self.mos_range)} {self.mos_type}".encode())
        return digest.hexdigest()[:16]

    @property
    def about(self) -> dict[str, Any]:
        """Everything but the tensors, as plain values."""
        values = {field.name: getattr(self, field.name) for field in fields(self)[2:]}
        return {**values, "mos_range": list(self.mos_range)}

    def check_fitted_on(self, encoder_hash: str, name: str) -> None:
        """Checks that it was fitted on features of this encoder; the released regressors name none.

        Args:
            encoder_hash: of the encoder.
            name: of the file; begins the message.

        Raises:
            WeightsError: it was fitted on the features of another encoder.
        """
        if self.encoder_hash not in (None, encoder_hash):
            raise WeightsError(
                f"{name}: fitted on the features of encoder {self.encoder_hash}, but this encoder is {encoder_hash}; "
                "run test.py again to fit a new regressor"
            )

    def linear(self) -> nn.Linear:
        """The layer 4096 -> 1, in evaluation mode."""
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
        """Writes a TorchScript archive as the released ones are; `about` becomes an extra file in it.

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
        """N x 4096 -> N x 1."""
        return embedding @ self.weights.T + self.biases


def load_regressor(path: str | Path, encoder_hash: str | None = None, kind: str = "no_reference") -> Regressor:
    """Loads a regressor written by `Regressor.save`, or a released or exported TorchScript archive.

    A released archive holds only the two tensors; the rest follows from its file name.

    Args:
        path: of the file.
        encoder_hash: hash of the encoder that the regressor will be used with.
        kind: which it must be, "no_reference" or "full_reference".

    Raises:
        WeightsError: the file is missing or damaged, is not a regressor of this kind, or was fitted on the features of
            another encoder.
    """
    path = Path(path)
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
    if encoder_hash is not None:
        regressor.check_fitted_on(encoder_hash, str(path))
    return regressor


def _archive_content(path: Path) -> dict[str, Any]:
    """The tensors of a TorchScript archive, and the metadata in it or that follow from its file name."""
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
    except Exception as error:  # zipfile and json raise many kinds
        reason = shorten(error) or type(error).__name__
        raise WeightsError(f"{path}: damaged ({reason}); delete it and download it again") from error
    if set(state) != {"weights", "biases"}:
        raise WeightsError(f"{path}: not a regressor (it has {', '.join(state)}); expected weights and biases")
    if isinstance(about, Mapping):
        return {**about, **state}
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


def _jit_load(path: Path) -> dict[str, Tensor]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # TorchScript is deprecated
            return torch.jit.load(str(path), map_location="cpu").state_dict()
    except Exception as error:
        raise WeightsError(f"{path}: damaged ({shorten(error)}); delete it and download it again") from error


def is_dense(value: object) -> bool:
    """Whether this is an ordinary tensor of real numbers with values."""
    ordinary = isinstance(value, Tensor) and value.layout == torch.strided and not value.is_meta
    return ordinary and not value.is_complex() and not value.is_quantized  # type: ignore[attr-defined]


def _tensor(name: str, value: object, shape: tuple[int, ...]) -> Tensor:
    """A float32 tensor of that shape, from one with as many values."""
    size = math.prod(shape)
    if not is_dense(value) or value.numel() != size or value.ndim > 2:  # type: ignore[attr-defined]
        found = type(value).__name__
        if isinstance(value, Tensor):
            found = f"{value.dtype}, {value.layout}, of shape {tuple(value.shape)}"
        raise WeightsError(f"{name}: found {found}; allowed: {size} real numbers")
    found = value.detach().to("cpu", torch.float32).reshape(shape).clone()  # type: ignore[attr-defined]
    if not (found.abs() <= LARGEST).all():
        raise WeightsError(f"{name}: has values that are not finite or beyond {LARGEST:.0e}")
    return found


def _finite(values: Any) -> bool:
    """Whether these are numbers that a float can hold."""
    try:
        return all(isinstance(v, int | float) and not isinstance(v, bool) and math.isfinite(v) for v in values)
    except OverflowError:
        return False
