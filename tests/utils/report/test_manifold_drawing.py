"""utils.report.manifold_drawing: the training continues, and gets the pictures of a finished drawing once."""

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.experiment import Experiment
from tests.processes import run, started
from utils.config.keys import VisualizationSection
from utils.report.manifold_drawing import ManifoldDrawing

ROOT = Path(__file__).resolve().parents[3]
PROGRAM = """
import sys
from pathlib import Path
from models.experiment import Experiment
from utils.report.manifold_drawing import ManifoldDrawing
from tests.utils.report.test_manifold_drawing import start
start(ManifoldDrawing(Experiment(Path(sys.argv[1]), "title"), interactive=True))
print("started", flush=True)
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


def test_a_program_that_ends_does_not_wait(tmp_path: Path) -> None:
    ended = run([sys.executable, "-c", PROGRAM, str(tmp_path)], cwd=ROOT)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "started\n", "")
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGKILL")
def test_a_drawing_ends_with_a_training_that_is_killed(tmp_path: Path) -> None:
    """It went on, and could write into the experiment that a resumed training had locked."""
    program = PROGRAM + "import time; time.sleep(600)"
    with started([sys.executable, "-c", program, str(tmp_path)], cwd=ROOT) as process:
        assert process.stdout is not None and process.stdout.readline() == "started\n"
        process.kill()
        process.wait(60)
        time.sleep(20)  # a drawing takes about five
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_a_fork_does_not_wait_for_the_drawing(tmp_path: Path) -> None:
    """In a thread, it did forever, in one of some tens of forks."""
    drawing = ManifoldDrawing(Experiment(tmp_path, "title"), interactive=True)
    start(drawing)
    signal.alarm(120)
    try:
        deadline = time.monotonic() + 60
        while drawing.figures(wait=False) == {} and time.monotonic() < deadline:
            child = os.fork()
            if child == 0:
                os._exit(0)
            os.waitpid(child, 0)
            time.sleep(0.05)
    finally:
        signal.alarm(0)
        drawing.stop()
