"""Reads the tensors of a TorchScript archive without executing code in it.

`torch.jit.load` executes the `__setstate__` methods of an archive. The released regressors do not need them: `data.pkl`
is a pickle of two tensors, and the bytes of the tensors are members of the zip file.
"""

import io
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

# Storage classes allowed in the pickle. Classes `__torch__.*` have their code in the archive and become `_Inert`.
DTYPES = {"FloatStorage": torch.float32, "DoubleStorage": torch.float64, "HalfStorage": torch.float16}


class UnknownForm(ValueError):
    """The archive is intact but is not one module whose attributes are tensors."""


def is_torchscript(path: Path) -> bool:
    """Whether the file is a TorchScript archive: a zip file with code/... members, which torch.save does not write."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any("/code/" in name for name in archive.namelist())


def read_torchscript(path: Path, extra: str) -> tuple[dict[str, Tensor], bytes | None]:
    """Returns the tensor attributes of an archive's module, by name, and the extra file `extra` (None without it).

    Raises:
        UnknownForm: the archive has another form. No code named in it is executed.
    """
    with zipfile.ZipFile(path) as archive:
        root = next((name.removesuffix("data.pkl") for name in archive.namelist() if name.endswith("/data.pkl")), "")
        members = {name.removeprefix(root): archive.read(name) for name in archive.namelist()}
    try:
        module = _Reader(members).load()
    except Exception as error:  # a pickle can fail in any way
        raise UnknownForm(str(error) or type(error).__name__) from error
    state = getattr(module, "state", None)
    if not isinstance(state, dict):
        raise UnknownForm("its module has no plain attributes")
    return {name: value for name, value in state.items() if isinstance(value, Tensor)}, members.get(f"extra/{extra}")


class _Inert:
    """Placeholder for an object of a class with code in the archive."""

    def __setstate__(self, state: object) -> None:
        self.state = state


class _Reader(pickle.Unpickler):
    """Unpickles data.pkl; only the names below are allowed."""

    def __init__(self, members: dict[str, bytes]) -> None:
        super().__init__(io.BytesIO(members["data.pkl"]))
        self.members = members

    def find_class(self, module: str, name: str) -> Any:
        if module.split(".")[0] == "__torch__":
            return _Inert
        if module == "torch" and name in DTYPES:
            return DTYPES[name]
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _tensor
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        raise pickle.UnpicklingError(f"it uses {module}.{name}")

    def persistent_load(self, key: tuple[str, torch.dtype, str, str, int]) -> Tensor:
        _, dtype, number, _, _ = key
        return torch.frombuffer(bytearray(self.members[f"data/{number}"]), dtype=dtype)


def _tensor(storage: Tensor, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: object) -> Tensor:
    """Like `torch._utils._rebuild_tensor_v2`; `as_strided` raises an error beyond the end of the storage."""
    return torch.as_strided(storage, size, stride, offset).clone()
