"""Writes an experiment's weights in the released form, which other toolboxes load.

    python -m models.export --experiment_name NAME --out DIR

DIR then holds ARNIQA.pth and one regressor_<dataset>.pth for each dataset that the experiment was tested on.
"""

import argparse
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from .weights import (
    WeightsError,
    encoder_hash,
    find_best_checkpoint,
    load_encoder,
    load_regressor,
    write_whole,
)


class ReleasedRegressor(nn.Module):
    """The linear regressor under the names of the released archives: `weights` 1 x 4096, `biases` scalar."""

    def __init__(self, regressor: nn.Linear) -> None:
        super().__init__()
        self.weights = nn.Parameter(regressor.weight.detach().clone(), requires_grad=False)
        self.biases = nn.Parameter(regressor.bias.detach().reshape(()).clone(), requires_grad=False)

    def forward(self, embedding: Tensor) -> Tensor:
        """N x 4096 -> N x 1."""
        return embedding @ self.weights.T + self.biases


def save_released_regressor(regressor: nn.Linear, path: str | Path) -> None:
    """Writes a regressor as a TorchScript archive, the form of the released ones.

    Raises:
        WeightsError: the file cannot be written.
    """
    with warnings.catch_warnings():
        # Deprecated in PyTorch, but it is the form of the released files and what their readers expect.
        warnings.simplefilter("ignore", category=FutureWarning)
        warnings.simplefilter("ignore", category=DeprecationWarning)
        script = torch.jit.script(ReleasedRegressor(regressor))
        write_whole(Path(path), lambda partial: script.save(str(partial)))


def export(experiment: str | Path, out: str | Path) -> list[Path]:
    """Writes ARNIQA.pth and the regressors of an experiment's folder to the folder `out`; returns the files.

    Raises:
        WeightsError: the experiment lacks a checkpoint or a regressor, one does not fit, or a file cannot be
            written.
    """
    folder = Path(experiment) / "regressors"
    encoder = load_encoder(find_best_checkpoint(experiment))
    regressors = sorted(folder.glob("regressor_*.pth"))
    if not regressors:
        raise WeightsError(f"{folder}: no regressor_*.pth there; test the experiment first (test.py)")
    loaded = {path.name: load_regressor(path, encoder_hash(encoder))[0] for path in regressors}
    written = [Path(out) / "ARNIQA.pth"]
    write_whole(written[0], lambda partial: torch.save(encoder.state_dict(), partial))
    for name, regressor in loaded.items():
        written.append(Path(out) / name)
        save_released_regressor(regressor, written[-1])
    return written


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m models.export", description="Writes an experiment's weights in the released form."
    )
    parser.add_argument("--experiment_name", required=True, help="the folder in experiments/")
    parser.add_argument("--out", required=True, type=Path, help="folder for the files")
    arguments = parser.parse_args(argv)
    try:
        for path in export(Path("experiments") / arguments.experiment_name, arguments.out):
            print(path)
    except WeightsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
