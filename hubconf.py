"""torch.hub entry point: torch.hub.load(repository, "ARNIQA", regressor_dataset="kadid10k")."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

dependencies = ["torch", "torchvision", "PIL"]

_NAME = "_arniqa_models"  # the calling program may have its own package `models`


def _load_models() -> ModuleType:
    """Loads the package `models` of this checkout under a private name, once per process."""
    folder = Path(__file__).resolve().parent / "models"
    loaded = sys.modules.get(_NAME)
    if loaded is not None and loaded.__file__ == str(folder / "__init__.py"):
        return loaded
    spec = importlib.util.spec_from_file_location(
        _NAME, folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    assert spec is not None and spec.loader is not None  # always true for a .py file
    for name in [name for name in sys.modules if name.partition(".")[0] == _NAME]:
        del sys.modules[name]  # loaded from another checkout
    package = importlib.util.module_from_spec(spec)
    sys.modules[_NAME] = package
    spec.loader.exec_module(package)
    return package


def ARNIQA(regressor_dataset: str = "kadid10k", **options: Any) -> Any:
    """The quality model, in evaluation mode on the CPU; see `models/arniqa.py` for its `forward`.

    Args:
        regressor_dataset: live, csiq, tid2013, kadid10k, flive, spaq, clive or koniq10k; or, with one of the
            options, your own.
        options: other arguments of `models.arniqa.ARNIQA`: `weights_dir` (folder with the released files or an export)
            or `experiment` (folder of a training run), the latter also with `full_reference`.
    """
    _load_models()
    module = importlib.import_module(f"{_NAME}.arniqa")
    return module.ARNIQA(regressor_dataset, **options)
