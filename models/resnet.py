"""The encoder: a ResNet-50 backbone and the projection head for pre-training (paper section 3.2)."""

from http.client import HTTPException
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models import ResNet50_Weights, resnet50

from .download import network_timeout
from .errors import WeightsError, shorten

FEATURE_DIM = 2048


class ResNet(nn.Module):
    """ResNet-50 without the classifier, with a two-layer projection head.

    The parameter names are the same as in the released weights. The backbone `model` is a `Sequential` of all children
    of torchvision's resnet50 except the last one; the head is `projector`.

    Args:
        embedding_dim: dimension of the projection `g`; the paper uses 128.
        pretrained: start from torchvision's IMAGENET1K_V1 weights instead of a random initialisation.
        use_norm: L2-normalise each row of `f` and `g`. The metadata of the state dict contains this flag.

    Raises:
        WeightsError: the ImageNet weights are not in torch.hub's cache and cannot be downloaded.
    """

    feat_dim = FEATURE_DIM  # programs that use the published code read it

    def __init__(self, embedding_dim: int = 128, pretrained: bool = True, use_norm: bool = True) -> None:
        super().__init__()
        self.use_norm = use_norm
        self.register_state_dict_post_hook(_note_use_norm)
        backbone = imagenet_resnet50() if pretrained else resnet50(weights=None)
        self.model = nn.Sequential(*list(backbone.children())[:-1])
        self.projector = nn.Sequential(
            nn.Linear(FEATURE_DIM, FEATURE_DIM), nn.ReLU(), nn.Linear(FEATURE_DIM, embedding_dim)
        )

    def features(self, x: Tensor) -> Tensor:
        """Returns the global-average-pooled features `f` of normalised images: N x 3 x H x W -> N x 2048."""
        f = torch.flatten(self.model(x), 1)
        return F.normalize(f, dim=1) if self.use_norm else f

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Maps normalised images N x 3 x H x W to (`f`: N x 2048, `g`: N x embedding_dim), with g = projector(f)."""
        f = self.features(x)
        g = self.projector(f)
        return f, F.normalize(g, dim=1) if self.use_norm else g


def _note_use_norm(encoder: nn.Module, state: dict[str, Any], prefix: str, metadata: dict[str, Any]) -> None:
    """Adds `use_norm` to the metadata of the state dict, because the keys must equal those of the released weights."""
    metadata["use_norm"] = encoder.use_norm


def imagenet_resnet50() -> nn.Module:
    """Returns torchvision's resnet50 with the IMAGENET1K_V1 weights; they give better results here than V2."""
    weights = ResNet50_Weights.IMAGENET1K_V1
    try:
        with network_timeout():
            return resnet50(weights=weights)
    except (OSError, RuntimeError, ValueError, HTTPException) as error:
        file = weights.url.rsplit("/", 1)[-1]
        raise WeightsError(
            f"{weights.url}: the ImageNet weights cannot be downloaded ({shorten(error)}); put {file} into "
            f"{torch.hub.get_dir()}/checkpoints, or set model.encoder.pretrained to false"
        ) from None
