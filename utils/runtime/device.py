"""The device that the configuration or the command line names."""

import torch

from utils.errors import UserError


def resolve_device(value: int | str) -> torch.device:
    """The device for a value of the key `device`: -1 or `cpu`, a GPU number, `cuda`, `cuda:1` or `mps`.

    Raises:
        UserError: this machine or this build of PyTorch does not have it.
    """
    if value in (-1, "cpu"):
        return torch.device("cpu")
    accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    if accelerator is None:
        raise UserError(f"device: found {value!r}, but PyTorch sees no GPU here; pass --device cpu to do without")
    device = torch.device(accelerator.type, value) if isinstance(value, int) else torch.device(value)
    count = torch.accelerator.device_count()
    if device.type != accelerator.type or (device.index or 0) >= count:
        numbers = "0" if count == 1 else f"0 to {count - 1}"
        raise UserError(
            f"device: found {value!r}, but PyTorch sees only {accelerator.type} here; "
            f"allowed: {accelerator.type}, the number {numbers}, or cpu"
        )
    return device


def with_float64(device: torch.device) -> torch.device:
    """The device itself, or the CPU where it has no float64 (MPS)."""
    return torch.device("cpu") if device.type == "mps" else device
