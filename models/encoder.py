"""The encoder alone, for features of images."""

from pathlib import Path

import torch
from torch import Tensor, nn

from .experiment_files import find_own_encoder
from .frozen import frozen
from .weights import load_encoder, published_encoder


class Encoder(nn.Module):
    """The encoder without its projection head, frozen as in `ARNIQA`: for inference only, in evaluation mode.

    Args:
        weights_dir: folder with ARNIQA.pth, released or exported; by default as for `ARNIQA`.
        experiment: folder of a training run, experiments/<name>, whose best encoder to use instead.

    Raises:
        WeightsError: the weights are missing, invalid or cannot be downloaded, or both arguments are given.
    """

    def __init__(self, weights_dir: str | Path | None = None, experiment: str | Path | None = None) -> None:
        super().__init__()
        path = None if experiment is None else find_own_encoder(experiment, weights_dir)
        self.encoder = frozen(published_encoder(weights_dir) if path is None else load_encoder(path))

    def forward(self, images: Tensor) -> Tensor:
        """ImageNet-normalised images N x 3 x H x W of any size -> features N x 2048, as `ResNet.features`."""
        return self.encoder.features(images.contiguous(memory_format=torch.channels_last))
