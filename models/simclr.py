"""Contrastive pre-training of the encoder: SimCLR over two views that share a degradation (paper section 3.2)."""

from collections.abc import Mapping
from typing import Any

import torch
import torch.distributed
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributed.nn.functional import all_gather

from .resnet import ResNet


def nt_xent_loss(a: Tensor, b: Tensor, tau: float = 0.1) -> Tensor:
    """NT-Xent (normalised temperature-scaled cross entropy; Chen et al., SimCLR, ICML 2020, eq. 1).

    The positive of row i of `a` is row i of `b` and the other way round; the negatives of a row are all other rows of
    both. With s(u, v) the cosine similarity, the loss of an anchor z with positive z+ is
    -s(z, z+)/tau + log sum_{v != z} exp(s(z, v)/tau), averaged over the 2M anchors. It is computed in float32 even
    under autocast. A collapsed encoder (all rows alike) gives ln(2M - 1).

    Args:
        a, b: projections of the two views, M x D each. In pre-training with batch size n, M = 2n: n full-scale rows,
            then n half-scale rows.
        tau: temperature, > 0.

    Returns:
        A scalar.
    """
    if a.shape != b.shape or a.ndim != 2:
        raise ValueError(f"a and b must have the same shape M x D, got {tuple(a.shape)} and {tuple(b.shape)}")
    m = a.shape[0]
    with torch.autocast(device_type=a.device.type, enabled=False):
        z = F.normalize(torch.cat([a, b]).float(), dim=1)  # 2M x D
        similarity = z @ z.T / tau  # 2M x 2M
        itself = torch.eye(2 * m, dtype=torch.bool, device=z.device)
        similarity = similarity.masked_fill(itself, float("-inf"))
        positive = torch.arange(2 * m, device=z.device).roll(m)  # i -> i + M mod 2M
        return F.cross_entropy(similarity, positive)  # log-sum-exp over every row but the anchor itself


def gather_ranks(x: Tensor) -> Tensor:
    """Rows of all ranks, in rank order, with gradients to each; `x` itself where there is one process."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.cat(all_gather(x))
    return x


class SimCLR(nn.Module):
    """The encoder and its contrastive loss.

    Args:
        encoder_params: arguments of `ResNet`: embedding_dim, pretrained, use_norm.
        temperature: of the NT-Xent loss; the paper uses 0.1.
    """

    def __init__(self, encoder_params: Mapping[str, Any], temperature: float = 0.1) -> None:
        super().__init__()
        self.encoder = ResNet(**encoder_params)
        self.temperature = temperature

    def forward(self, view_a: Tensor, view_b: Tensor) -> Tensor:
        """Loss of two views, 2n x 3 x H x W each (n full-scale crops, then the n half-scale crops): a scalar.

        The views go through the encoder one after the other, so that their batch-norm statistics stay apart. Under
        several ranks the negatives span all of them: every rank computes the loss of the global batch. The gradient of
        the gather sums over ranks and DistributedDataParallel averages over them, so each parameter receives the
        gradient of that global loss.
        """
        _, a = self.encoder(view_a)
        _, b = self.encoder(view_b)
        return nt_xent_loss(gather_ranks(a), gather_ranks(b), self.temperature)


def initial_model(seed: int, encoder_params: Mapping[str, Any], temperature: float) -> SimCLR:
    """The model before its first step: a function of its arguments and of nothing else."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return SimCLR(encoder_params, temperature)
