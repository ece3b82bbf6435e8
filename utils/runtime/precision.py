"""The precision of a network's arithmetic, decided by the configuration and not by PyTorch's defaults."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch

from utils.errors import UserError

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
    """Convolutions and matrix products on that device take this precision inside the context.

    float32 is that and no less: without TF32, which PyTorch uses for convolutions by default. tf32 rounds the factors
    of their products to 10 bits. float16 and bfloat16 are those of autocast.
    """
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    dtype = DTYPES[precision]
    try:
        with torch.autocast(device.type, dtype) if dtype != torch.float32 else nullcontext():
            yield
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before
