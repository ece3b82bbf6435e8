"""Optimizer and learning-rate schedule. The arguments have the names of the configuration keys."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn


def build_optimizer(
    model: nn.Module,
    name: str,
    lr: float,
    weight_decay: float,
    momentum: float,
    betas: Sequence[float],
    eps: float,
) -> torch.optim.Optimizer:
    """Builds SGD, Adam or AdamW for all parameters, in PyTorch's fused form.

    Args:
        model: model to train.
        name: "SGD", "Adam" or "AdamW".
        lr: learning rate, > 0.
        weight_decay: weight decay, >= 0.
        momentum: momentum of SGD.
        betas, eps: parameters of Adam and AdamW.
    """
    common: dict[str, Any] = {"lr": lr, "weight_decay": weight_decay, "fused": True}
    if name == "SGD":
        optimizer = torch.optim.SGD(model.parameters(), momentum=momentum, **common)
        if momentum:
            # PyTorch creates these buffers in the first step, and leaves them uninitialised if a gradient scaler skips
            # that step. Starting from zero gives the same first step.
            for parameter in model.parameters():
                optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
        return optimizer
    kind = {"Adam": torch.optim.Adam, "AdamW": torch.optim.AdamW}[name]
    return kind(model.parameters(), betas=(betas[0], betas[1]), eps=eps, **common)


def build_scheduler(
    optimizer: torch.optim.Optimizer, name: str | None, T_0: int, T_mult: int, eta_min: float
) -> torch.optim.lr_scheduler.CosineAnnealingWarmRestarts | None:
    """Builds cosine annealing with warm restarts (Loshchilov and Hutter, ICLR 2017), stepped with fractional epochs.

    Args:
        optimizer: optimizer with the learning rate to schedule.
        name: "CosineAnnealingWarmRestarts", or None for a constant rate.
        T_0: epochs until the first restart.
        T_mult: factor between the lengths of successive cycles.
        eta_min: lowest learning rate.

    Returns:
        The scheduler; None for a constant rate.
    """
    if name is None:
        return None
    return torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, T_0=T_0, T_mult=T_mult, eta_min=eta_min)
