"""Writes an experiment's weights in the file format of the release, which other toolboxes can load.

    python -m models.export --experiment_name NAME --out DIR

Writes DIR/ARNIQA.pth and one DIR/regressor_<dataset>.pth for each dataset that the experiment was tested on. The option
--weights_dir of single_image_inference.py and the argument weights_dir of the hub model read them.
"""

if __name__ == "__main__":
    from utils.errors import end_quietly_on_interrupt

    end_quietly_on_interrupt()

import json
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from models.errors import WeightsError
from models.weights import ABOUT, encoder_hash, load_encoder, load_regressor
from utils.config.command_line import OneLineParser
from utils.errors import UserError, run_command
from utils.experiment.layout import Experiment
from utils.runtime.files import write_whole


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
        UserError: the experiment has no checkpoint or no regressor.
        WeightsError: a weights file is invalid or cannot be written.
    """
    encoder = load_encoder(experiment.find_best_checkpoint())
    if not encoder.use_norm:
        raise UserError(
            f"{experiment.folder}: its encoder does not normalise features (model.encoder.use_norm false), which the "
            "released form cannot express"
        )
    regressors = experiment.regressors()
    if not regressors:
        raise UserError(f"{experiment.folder}: has no regressors; test the experiment first (test.py)")
    loaded = {path.name: load_regressor(path, encoder_hash(encoder)) for path in regressors}
    written = [Path(out) / "ARNIQA.pth"]
    write_whole(written[0], lambda file: torch.save(encoder.state_dict(), file))
    for name, (regressor, about) in loaded.items():
        written.append(Path(out) / name)
        save_released_regressor(regressor, written[-1], about)
    return written


def main(argv: Sequence[str] | None = None) -> None:
    parser = OneLineParser(
        prog="python -m models.export", description="Writes an experiment's weights in the file format of the release."
    )
    parser.add_argument("--experiment_name", required=True, help="folder in experiments/")
    parser.add_argument("--out", required=True, type=Path, help="output folder")
    arguments = parser.parse_args(argv)
    for path in export(Experiment.named(arguments.experiment_name), arguments.out):
        print(path)


if __name__ == "__main__":
    run_command(main, WeightsError)
