"""The precision of a network's arithmetic, decided by the configuration and not by PyTorch's defaults."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch

from models.errors import UserError

DTYPES = {
    "float32": torch.float32,
    "tf32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
}
SUPPORTED = {"cuda": ("float32", "tf32", "float16", "bfloat16"), "cpu": ("float32", "bfloat16")}
ELSEWHERE = ("float32", "float16", "bfloat16")


def check_precision(key: str, precision: str, device: torch.device) -> None:
    """Checks that the device can compute so.

    Raises:
        UserError: it cannot; the message begins with `key`.
    """
    supported = SUPPORTED.get(device.type, ELSEWHERE)
    if precision not in supported:
        raise UserError(f"{key}: found {precision}, but on {device.type} only {', '.join(supported)} can be had")


@contextmanager
def arithmetic(precision: str, device: torch.device) -> Iterator[None]:
    """Inside the context, an encoder on that device computes in this precision: `products` and `autocast` in one."""
    with products(precision), autocast(precision, device):
        yield


@contextmanager
def products(precision: str) -> Iterator[None]:
    """Inside the context, float32 convolutions and matrix products on CUDA are float32 and no less, or TF32 for "tf32".

    PyTorch's default is TF32 for convolutions: factors rounded to 10 bits. A backward pass belongs inside the context.
    """
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before


def autocast(precision: str, device: torch.device) -> AbstractContextManager:
    """PyTorch's autocast to float16 or bfloat16; at the other precisions, nothing. For the forward pass only."""
    dtype = DTYPES[precision]
    return torch.autocast(device.type, dtype) if dtype != torch.float32 else nullcontext()
