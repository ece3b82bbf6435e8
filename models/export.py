"""Writes weights in the file format of the release, or the quality model as one graph, for other programs.

    python -m models.export --experiment_name NAME --out DIR
    python -m models.export [--experiment_name NAME | --weights_dir DIR] --out DIR --format onnx [--regressor_dataset D]

The first writes DIR/ARNIQA.pth and one DIR/regressor_<dataset>.pth for each dataset that the experiment was tested on.
The option --weights_dir of single_image_inference.py and the argument weights_dir of the hub model read them. The
second writes DIR/ARNIQA_<dataset>.onnx, or .pt2 with --format torch_export, of the experiment or of the released
weights; `models/export_graph.py` says what is in it.
"""

if __name__ == "__main__":
    from utils.errors import end_quietly_on_interrupt

    end_quietly_on_interrupt()

import argparse
import json
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from models.arniqa import ARNIQA
from models.export_graph import SUFFIXES, check_packages, export_graph
from models.weights import ABOUT, encoder_hash, load_encoder, load_regressor
from utils.config.command_line import OneLineParser, file_path
from utils.errors import UserError, run_command
from utils.experiment.layout import Experiment
from utils.runtime.files import check_output, check_writable, write_whole


class ReleasedRegressor(nn.Module):
    """The linear regressor with the parameter names of the release: `weights` (1 x 4096) and `biases` (scalar)."""

    def __init__(self, regressor: nn.Linear) -> None:
        super().__init__()
        self.weights = nn.Parameter(regressor.weight.detach().clone(), requires_grad=False)
        self.biases = nn.Parameter(regressor.bias.detach().reshape(()).clone(), requires_grad=False)

    def forward(self, embedding: Tensor) -> Tensor:
        """N x 4096 -> N x 1."""
        return embedding @ self.weights.T + self.biases


def save_released_regressor(regressor: nn.Linear, path: str | Path, about: Mapping[str, Any] | None = None) -> None:
    """Writes a regressor as a TorchScript archive, like the released ones.

    Args:
        regressor: 4096 -> 1.
        path: of the file.
        about: the regressor's metadata, as `load_regressor` returns it. It becomes an extra file in the archive, which
            other toolboxes do not read.

    Raises:
        UserError: the file cannot be written.
    """
    extra = {ABOUT: json.dumps(about)} if about is not None else {}
    with warnings.catch_warnings():
        # TorchScript is deprecated in PyTorch, but the released files use it and other toolboxes expect it.
        warnings.simplefilter("ignore", category=FutureWarning)
        warnings.simplefilter("ignore", category=DeprecationWarning)
        script = torch.jit.script(ReleasedRegressor(regressor))
        write_whole(Path(path), lambda file: torch.jit.save(script, file, _extra_files=extra))


def export(experiment: Experiment, out: str | Path) -> list[Path]:
    """Writes ARNIQA.pth and the regressors of an experiment to the folder `out`; returns the paths.

    Raises:
        UserError: the experiment has no checkpoint or no regressor, or a file that this command did not write would be
            replaced.
        WeightsError: a weights file is invalid or cannot be written.
    """
    encoder = load_encoder(experiment.find_best_checkpoint())
    if not encoder.use_norm:
        raise UserError(
            f"{experiment.folder}: its encoder does not normalise features (model.encoder.use_norm false), which the "
            "released form cannot express"
        )
    out = Path(out)
    check_output("--out", out / "ARNIQA.pth", (".pth",), b"use_norm")  # metadata that the released file lacks
    loaded = {path.name: load_regressor(path, encoder_hash(encoder)) for path in fitted(experiment)}
    for name in loaded:
        check_output("--out", out / name, (".pth",), ABOUT.encode())
    written = [out / "ARNIQA.pth"]
    write_whole(written[0], lambda file: torch.save(encoder.state_dict(), file))
    for name, (regressor, about) in loaded.items():
        written.append(out / name)
        save_released_regressor(regressor, written[-1], about)
    return written


def fitted(experiment: Experiment) -> list[Path]:
    """The regressors of an experiment.

    Raises:
        UserError: it has none.
    """
    regressors = experiment.regressors()
    if not regressors:
        raise UserError(f"{experiment.folder}: has no regressors; test the experiment first (test.py)")
    return regressors


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse_arguments(argv)
    if arguments.format == "released":
        for path in export(Experiment.named(arguments.experiment_name), arguments.out):
            print(path)
        return
    check_packages(arguments.format)
    folder = None
    if arguments.experiment_name:
        experiment = Experiment.named(arguments.experiment_name)
        experiment.find_best_checkpoint()
        fitted(experiment)
        folder = experiment.folder
    model = ARNIQA(arguments.regressor_dataset, arguments.weights_dir, folder)
    path = arguments.out / f"ARNIQA_{arguments.regressor_dataset}{SUFFIXES[arguments.format]}"
    check_output("--out", path, (path.suffix,), b"score_quantiles" if arguments.format == "onnx" else ABOUT.encode())
    check_writable(arguments.out)
    difference = export_graph(model, path, arguments.format)
    print(f"{path}: its scores differ from the model's by up to {difference:.1e}")


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = OneLineParser(
        prog="python -m models.export",
        description="Writes weights in the file format of the release, or the quality model as one graph.",
    )
    add = parser.add_argument
    add("--experiment_name", help="folder in experiments/ with your weights; the two graphs also take released ones")
    add("--out", required=True, type=file_path, help="output folder")
    add("--format", default="released", choices=["released", *SUFFIXES], help="of what is written (default: released)")
    add("--regressor_dataset", help="of the graph: dataset of its regressor (default: kadid10k)")
    add(
        "--weights_dir",
        type=file_path,
        help="folder with the released files or an export; default: ARNIQA_WEIGHTS_DIR, or download",
    )
    arguments = parser.parse_args(argv)
    if arguments.experiment_name and arguments.weights_dir:
        raise UserError("--experiment_name, --weights_dir: found both; use only one of them")
    if arguments.format == "released":
        if not arguments.experiment_name:
            raise UserError("--experiment_name: missing; --format released needs the experiment with your weights")
        if arguments.regressor_dataset:
            raise UserError("--regressor_dataset: --format released writes all regressors; leave it out")
    arguments.regressor_dataset = arguments.regressor_dataset or "kadid10k"
    return arguments


if __name__ == "__main__":
    run_command(main)
