"""CSIQ (Larson and Chandler, Journal of Electronic Imaging 2010): 30 references, 6 distortion types."""

from pathlib import Path

from data.iqa_dataset import Annotation, IQADataset
from data.tables import numbers, read_table, texts
from models.errors import UserError


class CSIQDataset(IQADataset):
    """Annotation: `CSIQ.txt` with the columns dis_img_path, ref_img_path, score.

    Each path begins with the name of the dataset. Distorted images are named <reference>.<type>.<level>.png; types in
    lower case, and their groups, are the published ones.
    """

    name = "csiq"
    folder = "CSIQ"
    source = "https://s2.smu.edu/~eclarson/csiq.html, CSIQ.txt from the package iqadataset"
    mos_range = (0.0, 1.0)
    mos_type = "dmos"
    synthetic = True
    groups = {
        "awgn": "noise",
        "blur": "blur",
        "contrast": "sharpness_contrast",
        "fnoise": "noise",
        "jpeg2000": "jpeg",
        "jpeg": "jpeg",
    }

    def read_annotation(self) -> Annotation:
        path = self.root / "CSIQ.txt"
        table = read_table(path, ["dis_img_path", "ref_img_path", "score"], self.source)
        names = [name.split("/", 1)[-1] for name in texts(table, "dis_img_path", path)]
        parsed = [_type_and_level(name, path) for name in names]
        references = texts(table, "ref_img_path", path)
        return Annotation(
            names=names,
            folder=".",
            scores=numbers(table, "score", path),
            references=[name.split("/")[-1] for name in references],
            types=[kind for kind, _ in parsed],
            levels=[level for _, level in parsed],
            reference_files=[name.split("/", 1)[-1] for name in references],
        )


def _type_and_level(name: str, path: Path) -> tuple[str, int]:
    try:
        _, kind, level, _ = name.split("/")[-1].rsplit(".", 3)
        return kind.casefold(), int(level)
    except ValueError:
        raise UserError(f"{path}: invalid image name {name!r}; expected <reference>.<type>.<level>.png") from None
