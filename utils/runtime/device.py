"""The device, the precision of its arithmetic, and the memory allocator."""

import ctypes
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch

from models.errors import UserError
from utils.runtime.distributed import is_rank0

DTYPES = {
    "float32": torch.float32,
    "tf32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
}
SUPPORTED = {"cuda": ("float32", "tf32", "float16", "bfloat16"), "cpu": ("float32", "bfloat16")}
ELSEWHERE = ("float32", "float16", "bfloat16")
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4  # parameters of mallopt, from glibc's malloc.h


def resolve_device(value: int | str) -> torch.device:
    """Resolves a value of the key `device`: `auto`, -1 or `cpu`, a GPU number, `cuda`, `cuda:1` or `mps`.

    `auto` is the GPU if there is one, else the CPU; the choice is printed.

    Raises:
        UserError: the device does not exist on this machine or in this build of PyTorch.
    """
    accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    if value == "auto":
        device = torch.device(accelerator.type) if accelerator else torch.device("cpu")
        if is_rank0():
            print(f"device: {device} (auto)", file=sys.stderr)
        return device
    if value in (-1, "cpu"):
        return torch.device("cpu")
    here = "no GPU"
    if accelerator is not None:
        device = torch.device(accelerator.type, value) if isinstance(value, int) else torch.device(value)
        count = torch.accelerator.device_count()
        if device.type == accelerator.type and (device.index or 0) < count:
            return device
        here = f"{count} GPU{'s' if count > 1 else ''} of type {accelerator.type}"
    raise UserError(f"device: found {value!r}, but PyTorch finds {here}; use --device auto or cpu")


def choose_algorithms(deterministic: bool) -> None:
    """Sets PyTorch to use the fastest algorithms, or only deterministic ones where available.

    If an operation has no deterministic algorithm, PyTorch warns and uses another one.
    """
    torch.backends.cudnn.benchmark = not deterministic
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS is not deterministic without it
    torch.use_deterministic_algorithms(deterministic, warn_only=True)


def with_float64(device: torch.device) -> torch.device:
    """Returns the device, or the CPU if the device does not support float64 (MPS)."""
    return torch.device("cpu") if device.type == "mps" else device


def check_precision(key: str, precision: str, device: torch.device) -> None:
    """Checks that the device supports a precision.

    Raises:
        UserError: the device does not support it; the message starts with `key`.
    """
    supported = SUPPORTED.get(device.type, ELSEWHERE)
    if precision not in supported:
        raise UserError(f"{key}: found {precision}; allowed on {device.type}: {', '.join(supported)}")


@contextmanager
def precision_context(precision: str, device: torch.device) -> Iterator[None]:
    """Context for an encoder's forward pass on the device in this precision: `tf32_allowed` and `autocast`."""
    with tf32_allowed(precision), autocast(precision, device):
        yield


@contextmanager
def tf32_allowed(precision: str) -> Iterator[None]:
    """Context in which CUDA uses TF32 for "tf32" and full float32 otherwise, in convolutions and matrix products.

    PyTorch's default for convolutions is TF32, which rounds the factors to 10 bits. Run the backward pass inside the
    context too.
    """
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before


def autocast(precision: str, device: torch.device) -> AbstractContextManager:
    """Returns PyTorch's autocast to float16 or bfloat16, for the forward pass; a null context at other precisions."""
    dtype = DTYPES[precision]
    return torch.autocast(device.type, dtype) if dtype != torch.float32 else nullcontext()


def tune_malloc() -> None:
    """Makes glibc's malloc keep freed memory in the process. Does nothing with another C library.

    By default, glibc returns large blocks to the system, which must clear the pages of later blocks. With this setting,
    the process stays at its peak size. docs/benchmarks.md has the measured gain.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    libc = ctypes.CDLL(None)
    libc.mallopt(M_MMAP_MAX, 0)
    libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
    libc.mallopt(M_TOP_PAD, 64 * 2**20)
