"""The encoder: a ResNet-50 backbone and the projection head used during pre-training (paper section 3.2)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models import ResNet50_Weights, resnet50

from .errors import WeightsError

FEATURE_DIM = 2048


class ResNet(nn.Module):
    """ResNet-50 without its classifier, followed by a two-layer projection head.

    Parameter names are those of the released weights: the backbone is `model`, a `Sequential` over the children of
    torchvision's resnet50 but the last; the head is `projector`.

    Args:
        embedding_dim: size of the projection `g`; the paper uses 128.
        pretrained: start from torchvision's IMAGENET1K_V1 weights, else from torchvision's random initialisation.
        use_norm: L2-normalise `f` and `g` per row.

    Raises:
        WeightsError: the ImageNet weights are neither in torch.hub's cache nor downloadable.
    """

    def __init__(self, embedding_dim: int = 128, pretrained: bool = True, use_norm: bool = True) -> None:
        super().__init__()
        self.use_norm = use_norm
        backbone = imagenet_resnet50() if pretrained else resnet50(weights=None)
        self.model = nn.Sequential(*list(backbone.children())[:-1])
        self.projector = nn.Sequential(
            nn.Linear(FEATURE_DIM, FEATURE_DIM), nn.ReLU(), nn.Linear(FEATURE_DIM, embedding_dim)
        )

    def features(self, x: Tensor) -> Tensor:
        """The backbone's global-average-pooled feature `f` of normalised images, N x 3 x H x W -> N x 2048."""
        f = torch.flatten(self.model(x), 1)
        return F.normalize(f, dim=1) if self.use_norm else f

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """N x 3 x H x W normalised images -> (`f` N x 2048, `g` N x embedding_dim); g = head(f)."""
        f = self.features(x)
        g = self.projector(f)
        return f, F.normalize(g, dim=1) if self.use_norm else g


def imagenet_resnet50() -> nn.Module:
    """torchvision's resnet50 with its IMAGENET1K_V1 weights, which work better here than V2."""
    weights = ResNet50_Weights.IMAGENET1K_V1
    try:
        return resnet50(weights=weights)
    except (OSError, RuntimeError) as error:
        file = weights.url.rsplit("/", 1)[-1]
        raise WeightsError(
            f"cannot get the ImageNet weights {file} ({error}): put that file into "
            f"{torch.hub.get_dir()}/checkpoints, or set model.encoder.pretrained to false"
        ) from error
