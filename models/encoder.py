"""The encoder without the regressor, for image features."""

from pathlib import Path

import torch
from torch import Tensor

from .experiment import Experiment
from .hub_module import HubModule
from .inference_encoder import inference_encoder
from .weights import own_encoder, published_encoder


class Encoder(HubModule):
    """Encoder without its projection head, frozen as in `ARNIQA`: for inference only, in evaluation mode.

    Args:
        weights_dir: folder with ARNIQA.pth, released or exported; default as for `ARNIQA`.
        experiment: folder of a training run, experiments/<name>; its best encoder is used instead.

    Raises:
        WeightsError: the weights are missing, invalid or cannot be downloaded, or both arguments are given.
    """

    def __init__(self, weights_dir: str | Path | None = None, experiment: str | Path | None = None) -> None:
        super().__init__()
        if experiment is None:
            encoder = published_encoder(weights_dir)
        else:
            encoder = own_encoder(Experiment(Path(experiment)), weights_dir)
        self.encoder = inference_encoder(encoder)

    def forward(self, images: Tensor) -> Tensor:
        """Computes `ResNet.features` of ImageNet-normalised images of any size: N x 3 x H x W -> N x 2048."""
        return self.encoder.features(images.contiguous(memory_format=torch.channels_last))
