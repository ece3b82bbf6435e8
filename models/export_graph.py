"""Writes the quality model as one graph that runs without this project: ONNX, or a program of torch.export.

Inputs `img`, N x 3 x H x W, and `img_ds`, N x 3 x H' x W': float32, ImageNet-normalised, at full and at half scale. N
and the four sides may be others in each call; sides are 33 pixels or more. Output `score`: N, float32, scaled to [0, 1]
as `ARNIQA.forward` does.
"""

import io
import json
import warnings
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import BinaryIO

import torch
from torch import Tensor, nn
from torch.export import Dim

from models.arniqa import ARNIQA
from models.errors import UserError
from models.files import write_atomic
from models.regressor import ABOUT

OPSET = 18  # of ONNX
SMALLEST = 33  # side in pixels; below, the last feature map has one row, for which torch.export makes another graph
TOLERANCE = 1e-4  # of the scores
SUFFIXES = {"onnx": ".onnx", "torch_export": ".pt2"}
NEEDED = {"onnx": ("onnx", "onnxscript", "onnxruntime"), "torch_export": ()}
# (N, full-scale height and width, half-scale height and width) of the images that a written file is checked with.
CHECKED = ((5, (224, 224), (224, 224)), (1, (97, 131), (48, 65)), (2, (160, 75), (80, 37)))

Run = Callable[[Tensor, Tensor], Tensor]


class Graph(nn.Module):
    """The model without its branch on the sizes of the inputs, so that one graph is valid for all of them."""

    def __init__(self, model: ARNIQA) -> None:
        super().__init__()
        self.model = model
        self.eval()

    def forward(self, img: Tensor, img_ds: Tensor) -> Tensor:
        """Scores as `ARNIQA.forward` gives them: N x 3 x H x W, N x 3 x H' x W' -> N."""
        features = self.model.encoder.features
        score = self.model.regressor(torch.hstack([features(img), features(img_ds)])).squeeze(1)
        return self.model._scale(score)


def check_packages(form: str) -> None:
    """Finds out whether the packages that a form needs are installed and can be imported.

    Raises:
        UserError: some are not, or cannot.
    """
    missing = []
    for name in NEEDED[form]:
        try:
            import_module(name)
        except ModuleNotFoundError:
            missing.append(name)
        except (ImportError, OSError) as error:  # as with a library of the system that is not there
            reason = " ".join(str(error).split())
            raise UserError(f"--format {form}: {name} cannot be imported ({reason}); install it again") from error
    if missing:
        raise UserError(f"--format {form}: needs {', '.join(missing)}; run pip install {' '.join(missing)}")


def export_graph(model: ARNIQA, path: Path, form: str) -> float:
    """Writes the model to a file, which is there only after its scores were found to be the model's.

    Args:
        model: on the CPU.
        path: of the file.
        form: "onnx" or "torch_export".

    Returns:
        The largest difference between the scores of the file and those of the model.

    Raises:
        UserError: the file cannot be written, or its scores differ by more than `TOLERANCE`.
    """
    run = onnx_runner if form == "onnx" else torch_export_runner
    content = graph_file(model, form)
    difference = 0.0

    def write(file: BinaryIO) -> None:
        nonlocal difference
        file.write(content)
        file.flush()
        difference = largest_difference(model, run(Path(file.name).read_bytes()))
        if not difference <= TOLERANCE:
            raise UserError(
                f"{path}: not written, because its scores differ from the model's by up to {difference:.1e}, which is "
                f"more than {TOLERANCE:.0e}"
            )

    write_atomic(path, write)
    return difference


def graph_file(model: ARNIQA, form: str) -> bytes:
    """The content of a file of a form, "onnx" or "torch_export"."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of the exporters, about each other
        return to_onnx(model) if form == "onnx" else to_torch_export(model)


def to_onnx(model: ARNIQA) -> bytes:
    """The content of an ONNX file."""
    program = torch.onnx.export(
        Graph(model),
        example(),
        dynamo=True,
        opset_version=OPSET,
        input_names=["img", "img_ds"],
        output_names=["score"],
        dynamic_shapes=dynamic_shapes(),
        verbose=False,
    )
    assert program is not None
    program.model.metadata_props.update({name: json.dumps(value) for name, value in about(model).items()})
    return program.model_proto.SerializeToString()


def to_torch_export(model: ARNIQA) -> bytes:
    """The content of a file of torch.export.save."""
    program = torch.export.export(Graph(model), example(), dynamic_shapes=dynamic_shapes())
    file = io.BytesIO()
    torch.export.save(program, file, extra_files={ABOUT: json.dumps(about(model))})
    return file.getvalue()


def about(model: ARNIQA) -> dict[str, object]:
    """What a user of the file must know of the model."""
    names = "dataset fitted_on mos_range mos_type crop_size shorter_side precision score_kind score_quantiles"
    return {name: getattr(model, name) for name in names.split()}


def onnx_runner(content: bytes) -> Run:
    """Runs an ONNX file by ONNX Runtime on the CPU, on as many threads as torch has."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return lambda img, img_ds: torch.from_numpy(
        session.run(["score"], {"img": img.numpy(), "img_ds": img_ds.numpy()})[0]
    )


def torch_export_runner(content: bytes) -> Run:
    """Runs a file of torch.export.save."""
    return torch.export.load(io.BytesIO(content)).module()


def largest_difference(model: ARNIQA, run: Run) -> float:
    """Largest difference between the scores of a written file and those of the model, at the sizes `CHECKED`."""
    generator = torch.Generator().manual_seed(0)
    differences = []
    for n, full, half in CHECKED:
        images = [torch.randn(n, 3, *size, generator=generator) for size in (full, half)]
        with torch.no_grad():
            differences.append((run(*images) - model(*images)).abs().max())
    return torch.stack(differences).max().item()


def example() -> tuple[Tensor, Tensor]:
    """Inputs to trace with; no two dimensions are the same, so that none is taken for another."""
    return torch.zeros(2, 3, 96, 128), torch.zeros(2, 3, 48, 64)


def dynamic_shapes() -> dict[str, dict[int, Dim]]:
    """Batch, height and width of both inputs; the batch is the same."""
    batch = Dim("batch")
    height, width, height_ds, width_ds = (
        Dim(name, min=SMALLEST) for name in ("height", "width", "height_ds", "width_ds")
    )
    return {"img": {0: batch, 2: height, 3: width}, "img_ds": {0: batch, 2: height_ds, 3: width_ds}}
