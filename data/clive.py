"""CLIVE, the LIVE In the Wild Image Quality Challenge (Ghadiyaram and Bovik, TIP 2016): 1,162 photos."""

from pathlib import Path
from typing import Any

import numpy as np

from data.iqa_dataset import Annotation, IQADataset
from models.errors import UserError
from models.files import check_regular

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
        names = self._load("AllImages_release")
        scores = np.asarray(self._load("AllMOS_release"), np.float64).ravel()
        names = [str(np.asarray(cell).ravel()[0]) for cell in np.asarray(names).ravel()]
        if len(names) != len(scores):
            raise UserError(f"{self.root / 'Data'}: {len(names)} image names but {len(scores)} scores; they must match")
        return Annotation(names[TRAINING_IMAGES:], "Images", scores[TRAINING_IMAGES:])

    def _load(self, key: str) -> Any:
        import scipy.io

        path: Path = self.root / "Data" / f"{key}.mat"
        if not path.exists():
            raise UserError(f"{path}: not found; it is distributed with the dataset ({self.source})")
        check_regular(path)
        try:
            content = scipy.io.loadmat(path)
        except (OSError, ValueError, TypeError, NotImplementedError) as error:
            raise UserError(f"{path}: not a readable .mat file ({str(error).splitlines()[0]})") from error
        if key not in content:
            found = ", ".join(name for name in content if not name.startswith("__"))
            raise UserError(f"{path}: missing variable {key}; found: {found or 'none'}")
        return content[key]
