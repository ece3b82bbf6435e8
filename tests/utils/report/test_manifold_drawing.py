"""utils.report.manifold_drawing: the training continues, and gets the pictures of a finished drawing once."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.experiment import Experiment
from tests.contract.runs import needs_linux, quick, running
from tests.processes import wait_until
from utils.config.keys import VisualizationSection
from utils.report.manifold_drawing import ManifoldDrawing

PROGRAM = """
import multiprocessing
import sys
from pathlib import Path
from models.experiment import Experiment
from utils.report.manifold_drawing import ManifoldDrawing
from tests.utils.report.test_manifold_drawing import start
start(ManifoldDrawing(Experiment(Path(sys.argv[1]), "title"), interactive=True))
print(multiprocessing.active_children()[0].pid, flush=True)
"""


class Degraded:
    """Twelve images in three groups."""

    name = "kadid10k"
    images = [Path(f"{i}.png") for i in range(12)]
    mos = np.arange(12.0)
    ref_images = [str(i % 2) for i in range(12)]
    distortion_types = [f"type {i % 3}" for i in range(12)]
    distortion_groups = [f"group {i % 3}" for i in range(12)]
    distortion_levels = [1 + i % 5 for i in range(12)]

    def get_split_indices(self, split: int, phase: str) -> Any:
        return np.arange(12)


def start(drawing: ManifoldDrawing, factor: float = 1.0) -> None:
    embeddings = factor * np.random.default_rng(0).standard_normal((12, 8)).astype(np.float32)
    drawing.start(embeddings, Degraded(), VisualizationSection(), 0, "Epoch 0")


def test_the_pictures_of_a_finished_drawing_come_once(tmp_path: Path) -> None:
    drawing = ManifoldDrawing(Experiment(tmp_path, "title"), interactive=True)
    assert drawing.figures(wait=True) == {}
    start(drawing)
    assert drawing.figures(wait=False) == {}  # it takes seconds to import its packages
    figures = drawing.figures(wait=True)
    assert {"T-SNE", "MOS_T-SNE"} <= set(figures)
    assert {trace.name for trace in figures["T-SNE"].data} == {"group 0", "group 1", "group 2"}
    assert [trace.marker.color for trace in figures["MOS_T-SNE"].data] == [tuple(range(12))]
    assert drawing.figures(wait=True) == {}


def test_a_drawing_that_fails_has_no_pictures_and_one_that_is_stopped_leaves_nothing(tmp_path: Path) -> None:
    drawing = ManifoldDrawing(Experiment(tmp_path, "title"), interactive=True)
    start(drawing, factor=float("nan"))
    assert drawing.figures(wait=True) == {}
    start(drawing)
    (tmp_path / ".manifold.json.partial").touch()
    drawing.stop()
    assert not list(tmp_path.iterdir()) and drawing.figures(wait=True) == {}


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "program.py"
    path.write_text(PROGRAM, encoding="utf-8")
    return path


def test_a_program_that_ends_does_not_wait(tmp_path: Path, program: Path) -> None:
    ended = quick(tmp_path, str(program), tmp_path / "experiment")
    assert (ended.code, ended.err) == (0, "")
    assert not (tmp_path / "experiment").exists()


@needs_linux
def test_a_drawing_ends_with_a_training_that_is_killed(tmp_path: Path, program: Path) -> None:
    """It went on, and could write into the experiment that a resumed training had locked."""
    with program.open("a") as file:
        file.write("import time; time.sleep(600)")
    with running(tmp_path, str(program), tmp_path / "experiment") as process:
        drawing = Path("/proc", process.stdout.readline().strip())
        assert drawing.exists()
        process.kill()
        wait_until(lambda: not drawing.exists())
    assert not (tmp_path / "experiment").exists()
