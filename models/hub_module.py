"""Pickling of modules that torch.hub has loaded."""

from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn


class HubModule(nn.Module):
    """A module that another process can unpickle.

    torch.hub loads this package under a private name that other processes cannot import. Unpickling therefore calls
    `torch.hub.load` on the same folder, which must exist there.
    """

    def __reduce_ex__(self, protocol: Any) -> Any:
        package, _, module = type(self).__module__.partition(".")
        if package == "models":
            return super().__reduce_ex__(protocol)
        folder = str(Path(__file__).resolve().parents[1])
        create = partial(torch.hub.load, folder, "_empty", source="local", trust_repo=True)
        return create, (module, type(self).__name__), super().__reduce_ex__(protocol)[2]
