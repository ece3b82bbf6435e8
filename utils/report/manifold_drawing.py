"""Drawing the distortion manifold while the training continues."""

import multiprocessing
import sys
from multiprocessing.process import BaseProcess
from typing import Any

from PIL import Image

from models.experiment import Experiment
from models.image_file import open_image
from utils.report.pictures import draw_manifold, manifold_pictures
from utils.runtime.workers import starting_processes


class ManifoldDrawing:
    """Draws the manifold of an experiment in a process of its own; t-SNE may take half a minute.

    A thread would not do: data-loading workers are forked, and a fork while another thread is in a matrix product can
    block forever.

    Args:
        experiment: its folder gets the pictures.
    """

    def __init__(self, experiment: Experiment) -> None:
        self.experiment = experiment
        self._process: BaseProcess | None = None

    def start(self, *arguments: Any) -> None:
        """Starts `draw_manifold` with these arguments, and ends a drawing that is not finished."""
        self.stop()
        context = multiprocessing.get_context("spawn")
        self._process = context.Process(target=_draw, args=arguments, daemon=True)
        with starting_processes():
            self._process.start()

    def pictures(self, wait: bool) -> dict[str, list[tuple[Image.Image, str]]]:
        """The pictures of a finished drawing and their captions, once; empty if there is none.

        Args:
            wait: wait for a drawing that is not finished.
        """
        if self._process is None or (self._process.is_alive() and not wait):
            return {}
        self._process.join()
        drawn, self._process = self._process.exitcode == 0, None
        paths = manifold_pictures(self.experiment) if drawn else {}
        return {name: [(open_image(path), path.stem)] for name, path in paths.items()}

    def stop(self) -> None:
        """Ends a drawing that is not finished, and removes its unfinished files."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._process = None
            self.experiment.remove_unfinished_files()


def _draw(*arguments: Any) -> None:
    sys.exit(0 if draw_manifold(*arguments) else 1)
