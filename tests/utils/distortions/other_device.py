"""A simulated second device, for machines without a GPU.

Its tensors report a device other than the CPU but store their values on the CPU. As with a real device, an operation
that mixes tensors of both devices is an error.
"""

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

NAME = "meta"  # a device type in every PyTorch build that needs no hardware
aten = torch.ops.aten
MAY_MIX = (aten._to_copy.default, aten.copy_.default)


class Elsewhere(Tensor):
    """A tensor on the simulated device."""

    @staticmethod
    def __new__(cls, values: Tensor) -> "Elsewhere":
        return Tensor._make_wrapper_subclass(
            cls, values.size(), strides=values.stride(), dtype=values.dtype, device=NAME
        )

    def __init__(self, values: Tensor) -> None:
        self.values_on_cpu = values

    @classmethod
    def __torch_dispatch__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(function, args, kwargs or {})


class OtherDevice(TorchDispatchMode):
    """Context in which tensors created with `device="meta"` are on the simulated device."""

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(function, args, kwargs or {})


def _run(function: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    elsewhere = [tensor for tensor in tensors if isinstance(tensor, Elsewhere)]
    # PyTorch allows 0-dimensional CPU tensors to be mixed with tensors of any device.
    stray = [tensor for tensor in tensors if not isinstance(tensor, Elsewhere) and tensor.ndim > 0]
    if elsewhere and stray and function not in MAY_MIX:
        raise RuntimeError(f"{function}: tensors on two devices")
    there = bool(elsewhere)
    if kwargs.get("device") is not None:
        there = torch.device(kwargs["device"]).type == NAME
        kwargs = {**kwargs, "device": "cpu"}
    if function is aten.copy_.default:
        there = isinstance(args[0], Elsewhere)
    unwrap = lambda x: x.values_on_cpu if isinstance(x, Elsewhere) else x  # noqa: E731
    result = function(*tree_map(unwrap, args), **tree_map(unwrap, kwargs))
    if args and isinstance(args[0], Elsewhere) and result is args[0].values_on_cpu:  # in-place operation
        return args[0]
    return tree_map(lambda x: Elsewhere(x) if isinstance(x, Tensor) else x, result) if there else result
