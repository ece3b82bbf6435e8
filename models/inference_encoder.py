"""Encoders for inference, with batch norm folded into the convolutions."""

import copy

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from .resnet import ResNet


def inference_encoder(encoder: ResNet) -> ResNet:
    """Returns a copy for inference: evaluation mode, batch norm folded, channels-last memory format.

    The features agree with the encoder's to 1e-5. The copy cannot be saved as an encoder: its state dict differs.
    """
    copied = copy.deepcopy(encoder).eval()
    fold_batch_norm(copied)
    return copied.to(memory_format=torch.channels_last).requires_grad_(False)  # type: ignore[call-overload]


def fold_batch_norm(module: nn.Module) -> None:
    """Merges each convolution and the batch norm that follows it into one convolution, in place.

    This is valid in evaluation mode, where batch norm is an affine map per channel. Each container must register the
    batch norm directly after its convolution, as torchvision's ResNet does.
    """
    previous: tuple[str, nn.Module] | None = None
    for name, child in list(module.named_children()):
        norm = isinstance(child, nn.BatchNorm2d | nn.SyncBatchNorm)
        if norm and previous is not None and isinstance(previous[1], nn.Conv2d):
            setattr(module, previous[0], fuse_conv_bn_eval(previous[1], child))  # type: ignore[arg-type]
            setattr(module, name, nn.Identity())
        else:
            fold_batch_norm(child)
        previous = (name, child)
