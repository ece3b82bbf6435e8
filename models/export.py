"""Writes weights in the file format of the release, or the quality model as one graph, for other programs.

    python -m models.export --experiment_name NAME --out DIR
    python -m models.export [--experiment_name NAME | --weights_dir DIR] --out DIR --format onnx [--regressor_dataset D]

The first form writes DIR/ARNIQA.pth and one DIR/regressor_<dataset>.pth for each dataset that the experiment was tested
on. The option --weights_dir of single_image_inference.py and the argument weights_dir of the hub model read them. The
second form writes DIR/ARNIQA_<dataset>.onnx, or .pt2 with --format torch_export, from the experiment or the released
weights; `models/export_graph.py` describes the graph.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch

from models.arniqa import ARNIQA
from models.errors import UserError
from models.experiment import Experiment
from models.export_graph import SUFFIXES, check_packages, export_graph
from models.files import check_replaceable, write_atomic
from models.regressor import ABOUT, load_regressor
from models.weights import encoder_hash, load_encoder
from utils.command import run_command
from utils.config.command_line import OneLineParser, nonempty_path

EXPORTED = "written by models.export"  # in the metadata of an exported encoder, which readers ignore


def export(experiment: Experiment, out: str | Path) -> list[Path]:
    """Writes ARNIQA.pth and the regressors of an experiment to the folder `out`; returns the paths.

    Raises:
        UserError: the experiment has no checkpoint or no regressor, or `out` has a file of the same name that this
            command did not write.
        WeightsError: a weights file is invalid or cannot be written.
    """
    encoder = load_encoder(experiment.find_best_checkpoint())
    if not encoder.use_norm:
        raise UserError(
            f"{experiment.folder}: its encoder does not normalise features (model.encoder.use_norm false), which the "
            "released form cannot express"
        )
    out = Path(out)
    check_replaceable("--out", out / "ARNIQA.pth", EXPORTED.encode())
    regressors = experiment.regressors()
    if not regressors:
        raise UserError(f"{experiment.folder}: has no regressors; test the experiment first (test.py)")
    loaded = {out / path.name: load_regressor(path) for path in regressors}
    for path, regressor in loaded.items():
        regressor.check_fitted_on(encoder_hash(encoder), path.name)
        check_replaceable("--out", path, ABOUT.encode())
    state = encoder.state_dict()
    state._metadata[EXPORTED] = {}  # type: ignore[attr-defined]
    write_atomic(out / "ARNIQA.pth", lambda file: torch.save(state, file))
    for path, regressor in loaded.items():
        regressor.save_released(path)
    return [out / "ARNIQA.pth", *loaded]


def main(argv: Sequence[str] | None = None) -> None:
    arguments = parse_arguments(argv)
    if arguments.format == "released":
        for path in export(Experiment.named(arguments.experiment_name), arguments.out):
            print(path)
        return
    check_packages(arguments.format)
    folder = Experiment.named(arguments.experiment_name).folder if arguments.experiment_name else None
    model = ARNIQA(arguments.regressor_dataset, arguments.weights_dir, folder)
    path = arguments.out / f"ARNIQA_{arguments.regressor_dataset}{SUFFIXES[arguments.format]}"
    check_replaceable("--out", path, b"score_quantiles" if arguments.format == "onnx" else ABOUT.encode())
    difference = export_graph(model, path, arguments.format)
    print(f"{path}: its scores differ from the model's by up to {difference:.1e}")


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = OneLineParser(
        prog="python -m models.export",
        description="Writes weights in the file format of the release, or the quality model as one graph.",
    )
    add = parser.add_argument
    add("--experiment_name", help="folder in experiments/ with your weights (default for graphs: released weights)")
    add("--out", required=True, type=nonempty_path, help="output folder")
    add("--format", default="released", choices=["released", *SUFFIXES], help="output format (default: released)")
    add("--regressor_dataset", help="dataset of the graph's regressor (default: kadid10k)")
    add(
        "--weights_dir",
        type=nonempty_path,
        help="folder with the released files or an export; default: ARNIQA_WEIGHTS_DIR, or download",
    )
    arguments = parser.parse_args(argv)
    if arguments.experiment_name and arguments.weights_dir:
        raise UserError("--experiment_name, --weights_dir: found both; use only one of them")
    if arguments.format == "released" and not arguments.experiment_name:
        raise UserError("--experiment_name: missing; --format released needs the experiment with your weights")
    if arguments.format == "released" and arguments.regressor_dataset:
        raise UserError("--regressor_dataset: --format released writes all regressors; leave it out")
    arguments.regressor_dataset = arguments.regressor_dataset or "kadid10k"
    return arguments


if __name__ == "__main__":
    run_command(main)
