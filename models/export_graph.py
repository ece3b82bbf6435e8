"""Exports the quality model as one graph that runs without this project: ONNX, or a program of torch.export.

Inputs: `img`, N x 3 x H x W, and `img_ds`, N x 3 x H' x W': float32, ImageNet-normalised, at full and at half scale. N
and the four sides are dynamic; sides have at least 33 pixels. Output: `score`, N, float32, scaled to [0, 1] as in
`ARNIQA.forward`.
"""

import io
import json
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim

from models.arniqa import ARNIQA
from models.errors import UserError
from models.files import write_bytes
from models.regressor import ABOUT

OPSET = 18  # ONNX operator set
SMALLEST = 33  # smallest side in pixels; below, the last feature map has one row and torch.export makes another graph
TOLERANCE = 1e-4  # largest allowed difference of the scores
SUFFIXES = {"onnx": ".onnx", "torch_export": ".pt2"}
NEEDED = {"onnx": ("onnx", "onnxscript", "onnxruntime"), "torch_export": ()}
METADATA = (
    "fitted_on", "mos_range", "mos_type", "crop_size", "shorter_side", "precision", "score_kind",
    "score_quantiles",
)  # fmt: skip
# Inputs for tracing. All dimensions differ, so that the exporter does not treat two of them as one.
EXAMPLE = (torch.zeros(2, 3, 96, 128), torch.zeros(2, 3, 48, 64))
BATCH = Dim("batch")
SHAPES = {
    "img": {0: BATCH, 2: Dim("height", min=SMALLEST), 3: Dim("width", min=SMALLEST)},
    "img_ds": {0: BATCH, 2: Dim("height_ds", min=SMALLEST), 3: Dim("width_ds", min=SMALLEST)},
}
# (N, full-scale height and width, half-scale height and width) of the images that an exported graph is checked with.
CHECKED = ((5, (224, 224), (224, 224)), (1, (97, 131), (48, 65)), (2, (160, 75), (80, 37)))

Run = Callable[[Tensor, Tensor], Tensor]


class Graph(nn.Module):
    """The model without the branch on the input sizes, so that one graph is valid for all sizes."""

    def __init__(self, model: ARNIQA) -> None:
        super().__init__()
        self.model = model
        self.eval()

    def forward(self, img: Tensor, img_ds: Tensor) -> Tensor:
        """Computes the scores of `ARNIQA.forward`: N x 3 x H x W, N x 3 x H' x W' -> N."""
        features = self.model.encoder.features
        score = self.model.regressor(torch.hstack([features(img), features(img_ds)])).squeeze(1)
        return self.model._scale(score)


def check_packages(form: str) -> None:
    """Checks that the packages for an export format are installed.

    Raises:
        UserError: a package is missing.
    """
    missing = [name for name in NEEDED[form] if find_spec(name) is None]
    if missing:
        raise UserError(f"--format {form}: needs {', '.join(missing)}; run pip install {' '.join(missing)}")


def export_graph(model: ARNIQA, path: Path, form: str) -> float:
    """Exports the model to a file, after checking that the graph gives the same scores as the model.

    Args:
        model: quality model on the CPU.
        path: output file.
        form: "onnx" or "torch_export".

    Returns:
        The largest difference between the scores of the file and those of the model.

    Raises:
        UserError: the file cannot be written, or its scores differ by more than `TOLERANCE`.
    """
    content = graph_file(model, form)
    run = onnx_runner(content) if form == "onnx" else torch.export.load(io.BytesIO(content)).module()
    difference = largest_difference(model, run)
    if not difference <= TOLERANCE:
        raise UserError(
            f"{path}: not written, because its scores differ from the model's by up to {difference:.1e}, which is "
            f"more than {TOLERANCE:.0e}"
        )
    write_bytes(path, content)
    return difference


def graph_file(model: ARNIQA, form: str) -> bytes:
    """Returns the content of an exported file; `form` is "onnx" or "torch_export"."""
    about = {"dataset": model.regressor_dataset} | {name: getattr(model, name) for name in METADATA}
    options: dict[str, Any] = {"args": EXAMPLE, "dynamic_shapes": SHAPES}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # warnings of the exporters about each other
        if form == "torch_export":
            file = io.BytesIO()
            program = torch.export.export(Graph(model), **options)
            torch.export.save(program, file, extra_files={ABOUT: json.dumps(about)})
            return file.getvalue()
        names: dict[str, Any] = {"input_names": ["img", "img_ds"], "output_names": ["score"]}
        graph = torch.onnx.export(Graph(model), **options, **names, dynamo=True, opset_version=OPSET, verbose=False)
    assert graph is not None
    graph.model.metadata_props.update({name: json.dumps(value) for name, value in about.items()})
    return graph.model_proto.SerializeToString()


def onnx_runner(content: bytes) -> Run:
    """Returns a function that runs an ONNX graph with ONNX Runtime on the CPU, with torch's number of threads."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return lambda img, img_ds: torch.from_numpy(
        session.run(["score"], {"img": img.numpy(), "img_ds": img_ds.numpy()})[0]
    )


def largest_difference(model: ARNIQA, run: Run) -> float:
    """Returns the largest difference between the scores of an exported graph and the model, at the sizes `CHECKED`."""
    generator = torch.Generator().manual_seed(0)
    differences = []
    for n, full, half in CHECKED:
        images = [torch.randn(n, 3, *size, generator=generator) for size in (full, half)]
        with torch.no_grad():
            differences.append((run(*images) - model(*images)).abs().max())
    return torch.stack(differences).max().item()
