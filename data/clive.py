"""CLIVE, the LIVE In the Wild Image Quality Challenge (Ghadiyaram and Bovik, TIP 2016): 1,162 photos."""

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from data.iqa_dataset import Annotation, IQADataset
from models.errors import UserError
from models.files import parsing

T = TypeVar("T")
TRAINING_IMAGES = 7  # the first images trained the raters and are not part of the dataset


class CLIVEDataset(IQADataset):
    """Annotation: `Data/AllImages_release.mat` and `Data/AllMOS_release.mat`, without the 7 training images.

    The photos are in `Images/`.
    """

    name = "clive"
    folder = "CLIVE"
    source = "https://live.ece.utexas.edu/research/ChallengeDB/index.html"
    mos_range = (1.0, 100.0)

    def read_annotation(self) -> Annotation:
        names = self._load("AllImages_release", lambda cell: str(np.asarray(cell).ravel()[0]))
        scores = self._load("AllMOS_release", float)
        if len(names) != len(scores):
            raise UserError(f"{self.root / 'Data'}: {len(names)} image names but {len(scores)} scores; they must match")
        return Annotation(names[TRAINING_IMAGES:], "Images", scores[TRAINING_IMAGES:])

    def _load(self, key: str, convert: Callable[[Any], T]) -> list[T]:
        """The converted elements of a variable in Data/<key>.mat."""
        import scipy.io

        path = self.root / "Data" / f"{key}.mat"
        with parsing(path, "a readable .mat file", f"it is distributed with the dataset ({self.source})"):
            return [convert(element) for element in np.asarray(scipy.io.loadmat(path)[key]).ravel()]
