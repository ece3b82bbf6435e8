"""UHD-IQA (Hosu, Agnolucci, Wiedemann, Iso and Saupe, ECCV workshops 2024): 6,073 photos of 3,840 pixels and more."""

import numpy as np

from data.iqa_dataset import Annotation, IQADataset
from data.split_files import Splits
from data.tables import numbers, read_table, texts
from models.errors import UserError

PHASES = {"training": "train", "validation": "val", "test": "test"}  # set in the annotation, and folder -> phase


class UHDIQADataset(IQADataset):
    """Annotation: `uhd-iqa-metadata.csv` with the columns image_name, quality_mos, set.

    The photos of each set are in the folder of its name. The sets are the single, official split.
    """

    name = "uhdiqa"
    folder = "UHD-IQA"
    source = "https://database.mmsp-kn.de/uhd-iqa-benchmark-database.html"
    mos_range = (0.0, 1.0)
    official_split = True

    def read_annotation(self) -> Annotation:
        path = self.root / "uhd-iqa-metadata.csv"
        table = read_table(path, ["image_name", "quality_mos", "set"], self.source)
        sets = [text.strip() for text in texts(table, "set", path)]
        for row, found in enumerate(sets, 1):
            if found not in PHASES:
                raise UserError(f"{path}: set in row {row} is {found!r}; allowed: {', '.join(PHASES)}")
        names = [f"{folder}/{name}" for folder, name in zip(sets, texts(table, "image_name", path), strict=True)]
        return Annotation(names, ".", numbers(table, "quality_mos", path))

    def first_splits(self) -> Splits:
        sets = np.array([name.split("/")[0] for name in self.names])
        rows = {name: np.flatnonzero(sets == name) for name in PHASES}
        for name, part in rows.items():
            if len(part) == 0:
                raise UserError(f"the official split has no image in the set {name}")
        return {PHASES[name]: [part] for name, part in rows.items()}
