"""torch.hub entry points: torch.hub.load(repository, "ARNIQA", regressor_dataset="kadid10k")."""

import importlib.util
import pathlib
import sys
import types
import typing

# torch.hub.list shows every callable without a leading underscore, so this file imports modules only.

dependencies = ["torch", "torchvision", "PIL", "numpy"]

_NAME = "_arniqa_models"  # the calling program may have its own package `models`


def _load(module: str) -> types.ModuleType:
    """Imports a module of this checkout's package `models`, which is loaded once per process, under a private name."""
    folder = pathlib.Path(__file__).resolve().parent / "models"
    loaded = sys.modules.get(_NAME)
    if loaded is None or loaded.__file__ != str(folder / "__init__.py"):
        spec = importlib.util.spec_from_file_location(
            _NAME, folder / "__init__.py", submodule_search_locations=[str(folder)]
        )
        assert spec is not None and spec.loader is not None  # always true for a .py file
        for name in [name for name in sys.modules if name.partition(".")[0] == _NAME]:
            del sys.modules[name]  # loaded from another checkout
        package = importlib.util.module_from_spec(spec)
        sys.modules[_NAME] = package
        spec.loader.exec_module(package)
    return importlib.import_module(f"{_NAME}.{module}")


def ARNIQA(regressor_dataset: str | typing.Sequence[str] = "kadid10k", **options: typing.Any) -> typing.Any:
    """Returns the quality model in evaluation mode, on the CPU.

    `model.score("photo.jpg")` gives the score of an image, from about 0 (bad) to 1 (good).

    `score` takes a path, a PIL image, a tensor (uint8, or floats in [0, 1], not normalised; 3 x H x W or N x 3 x H x W)
    or a list of these. It returns a tensor without dimensions for one image, else N scores. For float tensors the score
    has a gradient. `models/arniqa.py` has the details, and `forward` for normalised images at two scales.

    Args:
        regressor_dataset: live, csiq, tid2013, kadid10k, flive, spaq, clive or koniq10k; or, with one of the
            options, your own dataset. A list of D datasets, or "all", gives a model with N x D scores
            (`models/multi_regressor.py`).
        options: other arguments of `models.arniqa.ARNIQA`: `weights_dir` (folder with the released files or an export)
            or `experiment` (folder of a training run), the latter also with `full_reference`.
    """
    return _load("multi_regressor").quality_model(regressor_dataset, **options)


def ARNIQA_encoder(weights_dir: str | None = None, experiment: str | None = None) -> typing.Any:
    """Returns the encoder in evaluation mode, on the CPU: normalised images N x 3 x H x W -> features N x 2048.

    Images are ImageNet-normalised and have any size. For the 4096 features of the paper, concatenate the features of an
    image and of its half-scale copy.

    Args:
        weights_dir: folder with the released ARNIQA.pth or an export. Default: the folder in ARNIQA_WEIGHTS_DIR; if it
            is not set, the release is downloaded.
        experiment: folder of a training run (experiments/NAME); its best encoder is used instead.
    """
    return _load("encoder").Encoder(weights_dir, experiment)


def _empty(module: str, name: str) -> typing.Any:
    """Returns an uninitialised instance of one of our classes, for unpickling; see `models/hub_module.py`."""
    kind = getattr(_load(module), name)
    return kind.__new__(kind)
