"""Contrastive pre-training of the encoder: SimCLR on two views with the same degradation (paper section 3.2)."""

import warnings
from collections.abc import Mapping
from typing import Any

import torch
import torch.distributed
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributed.nn.functional import all_gather
from torch.nn.parallel import DistributedDataParallel

from .resnet import ResNet


def nt_xent_loss(a: Tensor, b: Tensor, tau: float = 0.1) -> Tensor:
    """Computes the NT-Xent loss (normalised temperature-scaled cross entropy; Chen et al., SimCLR, ICML 2020, eq. 1).

    Row i of `a` and row i of `b` are a positive pair. The negatives of a row are all other rows of `a` and `b`. With
    the cosine similarity s(u, v), the loss of an anchor z with the positive z+ is
    -s(z, z+)/tau + log sum_{v != z} exp(s(z, v)/tau), averaged over the 2M anchors. The loss is computed in float32
    even under autocast. A collapsed encoder (all rows equal) gives ln(2M - 1).

    Args:
        a, b: projections of the two views, M x D each. In pre-training with batch size n, M = 2n: n full-scale rows
            followed by n half-scale rows.
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
        return F.cross_entropy(similarity, positive)  # log-sum-exp over all rows except the anchor


def gather_ranks(x: Tensor) -> Tensor:
    """Concatenates the rows of all ranks, in rank order, with gradients to each rank. Returns `x` with one process."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # the recommended replacement exists in new versions only
            return torch.cat(all_gather(x))
    return x


class SimCLR(nn.Module):
    """The encoder with its contrastive loss.

    Args:
        encoder_params: arguments of `ResNet`: embedding_dim, pretrained, use_norm.
        temperature: temperature of the NT-Xent loss; the paper uses 0.1.
    """

    def __init__(self, encoder_params: Mapping[str, Any], temperature: float = 0.1) -> None:
        super().__init__()
        self.encoder = ResNet(**encoder_params)
        self.temperature = temperature

    def forward(self, view_a: Tensor, view_b: Tensor) -> Tensor:
        """Computes the loss (a scalar) of two views.

        A view is 2n x 3 x H x W: n full-scale crops, then n half-scale crops; or it is n full-scale crops alone. The
        encoder processes the views one after the other, so their batch-norm statistics are separate. With several
        ranks, each rank computes the loss of the global batch, with negatives from all ranks. The backward pass of
        the gather sums over the ranks and DistributedDataParallel averages over them, so each parameter gets the
        gradient of this global loss.
        """
        _, a = self.encoder(view_a)
        _, b = self.encoder(view_b)
        return nt_xent_loss(gather_ranks(a), gather_ranks(b), self.temperature)


def initial_model(seed: int, encoder_params: Mapping[str, Any], temperature: float) -> SimCLR:
    """Returns the model before the first training step. It depends only on the arguments.

    Args:
        seed: seed of the random initialisation.
        encoder_params, temperature: see `SimCLR`.

    Raises:
        WeightsError: the ImageNet weights are requested but cannot be downloaded.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return SimCLR(encoder_params, temperature)


def parallel_model(model: SimCLR, device: torch.device, compile: bool) -> nn.Module:
    """Wraps the model for the training loop: distributed with several processes, compiled if `compile` is set."""
    parallel: nn.Module = model
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        if device.type == "cuda":  # SyncBatchNorm exists on CUDA only
            model.encoder = nn.SyncBatchNorm.convert_sync_batchnorm(model.encoder)
        parallel = DistributedDataParallel(model, device_ids=None if device.index is None else [device.index])
    if compile:
        parallel.compile()
    return parallel
