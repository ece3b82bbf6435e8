"""Draws the distortion manifold while the training continues."""

import multiprocessing
import os
import sys
import threading
from multiprocessing.process import BaseProcess
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.experiment import Experiment
from utils.config.keys import VisualizationSection
from utils.evaluation.dataset import ScoredDataset
from utils.evaluation.manifold import Manifold
from utils.report.pictures import draw_manifold
from utils.runtime.workers import starting_processes


class ManifoldDrawing:
    """Draws the manifold of an experiment in a separate process; t-SNE may take half a minute.

    A thread is not an option: data-loading workers are forked, and a fork during a matrix product of another thread can
    deadlock. The process ends with the training, even if the training is killed.

    Args:
        experiment: the pictures go to its folder.
        interactive: whether `figures` returns any.
    """

    def __init__(self, experiment: Experiment, interactive: bool) -> None:
        self.experiment, self.interactive = experiment, interactive
        self._process: BaseProcess | None = None

    def start(
        self,
        embeddings: NDArray[np.floating],
        dataset: ScoredDataset,
        settings: VisualizationSection,
        seed: int,
        title: str,
    ) -> None:
        """Starts a drawing, see `draw_manifold`; the previous one must be finished."""
        arguments = (embeddings, dataset, settings, seed, self.experiment, title)
        self._process = multiprocessing.get_context("spawn").Process(target=_draw, args=arguments, daemon=True)
        with starting_processes():
            self._process.start()

    def figures(self, wait: bool) -> dict[str, Any]:
        """Returns the interactive figures of a finished drawing by their names in W&B, once; else nothing.

        Args:
            wait: wait for an unfinished drawing.
        """
        if self._process is None or (self._process.is_alive() and not wait):
            return {}
        self._process.join()
        drawn, self._process = self._process.exitcode == 0, None
        if not drawn or not self.interactive:
            return {}
        from utils.report.interactive import manifold_plots  # imports Plotly

        return manifold_plots(Manifold.load(self.experiment.manifold))

    def stop(self) -> None:
        """Ends an unfinished drawing, and removes its unfinished files."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._process = None
            self.experiment.remove_unfinished_files()


def _draw(*arguments: Any) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    sys.exit(0 if draw_manifold(*arguments) else 1)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
