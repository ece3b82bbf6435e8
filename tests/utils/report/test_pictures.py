from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from models.experiment import Experiment
from utils.config.keys import VisualizationSection
from utils.report.pictures import draw_manifold


@pytest.mark.parametrize("error", [ValueError("Unknown metric: euclidian\nallowed: ..."), RuntimeError()])
def test_a_picture_that_cannot_be_drawn_ends_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception
) -> None:
    """A mistyped UMAP metric ended the training after its first epoch."""

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("utils.report.pictures.make_manifold", fail)
    dataset: Any = SimpleNamespace(name="kadid10k")
    drawn = draw_manifold(np.zeros((1, 4)), dataset, VisualizationSection(), 0, Experiment(tmp_path, "a"), "Epoch 0")
    assert not drawn and not list(tmp_path.iterdir())
    reason = str(error).splitlines()[0] if str(error) else "RuntimeError"
    assert capsys.readouterr().err == f"the manifold of kadid10k is not drawn: {reason}\n"
