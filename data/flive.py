"""FLIVE, also known as PaQ-2-PiQ (Ying et al., CVPR 2020): 39,810 photos."""

from typing import TYPE_CHECKING

import numpy as np

from data.iqa_dataset import Annotation, IQADataset
from data.split_files import Splits
from data.tables import numbers, read_table, texts
from models.errors import UserError

if TYPE_CHECKING:
    import pandas as pd


class FLIVEDataset(IQADataset):
    """Annotation: `labels_image.csv` with the columns name, mos. The images are in `database/`.

    The single, official split comes from the dataset's own files: test images are listed in labels640.csv, validation
    images have `is_valid` set in labels=640_padded.csv, and the rest is for training.
    """

    name = "flive"
    folder = "FLIVE"
    source = "https://baidut.github.io/PaQ-2-PiQ/#download-zone"
    mos_range = (1.0, 100.0)
    official_split = True

    def read_annotation(self) -> Annotation:
        path = self.root / "labels_image.csv"
        table = read_table(path, ["name", "mos"], self.source)
        return Annotation(texts(table, "name", path), "database", numbers(table, "mos", path))

    def first_splits(self) -> Splits:
        test = self._named("labels640.csv")
        valid = self._named("labels=640_padded.csv", "is_valid")
        phases = {"train": [], "val": [], "test": []}  # type: dict[str, list[int]]
        for row, name in enumerate(self.names):
            key = name.casefold()
            phases["test" if key in test else "val" if key in valid else "train"].append(row)
        for phase, rows in phases.items():
            if not rows:
                raise UserError(
                    f"the official split has no {phase} images; labels640.csv and labels=640_padded.csv must list "
                    "images of labels_image.csv"
                )
        return {phase: [np.array(rows, dtype=np.int64)] for phase, rows in phases.items()}

    def _named(self, file: str, flag: str | None = None) -> set[str]:
        path = self.root / file
        table = read_table(path, ["name_image", *([flag] if flag else [])], self.source)
        if flag:
            table = table[_truth(table[flag])]
        return {name.replace("\\", "/").casefold() for name in texts(table, "name_image", path)}


def _truth(column: "pd.Series") -> "pd.Series":
    return column.str.strip().str.casefold().isin(["true", "1", "1.0"])
