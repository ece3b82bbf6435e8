"""Copies batches to the device while it computes."""

from collections.abc import Sequence

import torch
from torch import Tensor


class Transfer:
    """Copies images to the device, in channels-last memory format.

    On CUDA the copies use a separate stream: a batch in pinned memory is copied while the device computes on the
    previous batch.

    Args:
        device: target device.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    def __call__(self, images: Sequence[Tensor]) -> list[Tensor]:
        """Returns the tensors (N x C x H x W each) on the device."""
        if self.stream is None:
            return [image.to(self.device, memory_format=torch.channels_last) for image in images]
        computing = torch.cuda.current_stream(self.device)
        with torch.cuda.stream(self.stream):
            copied = [image.to(self.device, memory_format=torch.channels_last, non_blocking=True) for image in images]
        computing.wait_stream(self.stream)
        for image in copied:
            image.record_stream(computing)  # its memory is not reused before the computation ends
        return copied
