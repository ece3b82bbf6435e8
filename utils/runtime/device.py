"""The device that the configuration or the command line names."""

import os
import sys

import torch

from models.errors import UserError
from utils.runtime.distributed import is_main


def resolve_device(value: int | str) -> torch.device:
    """The device for a value of the key `device`: `auto`, -1 or `cpu`, a GPU number, `cuda`, `cuda:1` or `mps`.

    `auto` is the GPU if there is one, else the CPU, and is printed.

    Raises:
        UserError: this machine or this build of PyTorch does not have it.
    """
    accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    if value == "auto":
        device = torch.device(accelerator.type) if accelerator else torch.device("cpu")
        if is_main():
            print(f"device: {device} (auto)", file=sys.stderr)
        return device
    if value in (-1, "cpu"):
        return torch.device("cpu")
    if accelerator is None:
        raise UserError(f"device: found {value!r}, but PyTorch sees no GPU here; use --device cpu or auto")
    device = torch.device(accelerator.type, value) if isinstance(value, int) else torch.device(value)
    count = torch.accelerator.device_count()
    if device.type != accelerator.type or (device.index or 0) >= count:
        numbers = "0" if count == 1 else f"0 to {count - 1}"
        raise UserError(
            f"device: found {value!r}, but PyTorch sees only {accelerator.type} here; "
            f"allowed: {accelerator.type}, the number {numbers}, or cpu"
        )
    return device


def choose_algorithms(deterministic: bool) -> None:
    """Lets PyTorch choose the fastest algorithms for the shapes that it meets, or deterministic ones only.

    Where PyTorch has no deterministic algorithm, it warns and takes another one.
    """
    torch.backends.cudnn.benchmark = not deterministic
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS is not deterministic without it
    torch.use_deterministic_algorithms(deterministic, warn_only=True)


def with_float64(device: torch.device) -> torch.device:
    """The device itself, or the CPU where it has no float64 (MPS)."""
    return torch.device("cpu") if device.type == "mps" else device
