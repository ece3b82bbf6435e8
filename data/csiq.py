"""CSIQ (Larson and Chandler, Journal of Electronic Imaging 2010): 30 references, 6 distortion types."""

from pathlib import Path

from data.iqa_dataset import Annotation, IQADataset
from data.tables import numbers, read_table, texts
from utils.errors import UserError


class CSIQDataset(IQADataset):
    """Annotation: `CSIQ.txt` with the columns dis_img_path, dis_type, ref_img_path, score.

    Each path begins with the name of the dataset. Distorted images are named <reference>.<type>.<level>.png.
    """

    name = "csiq"
    folder = "CSIQ"
    source = "https://s2.smu.edu/~eclarson/csiq.html, CSIQ.txt from the package iqadataset"
    mos_range = (0.0, 1.0)
    mos_type = "dmos"
    synthetic = True
    groups = {
        "AWGN": "noise",
        "Pink_Noise": "noise",
        "GBLUR": "blur",
        "JPEG": "compression",
        "JP2K": "compression",
        "Contrast Dist.": "contrast",
    }

    def read_annotation(self) -> Annotation:
        path = self.root / "CSIQ.txt"
        table = read_table(path, ["dis_img_path", "dis_type", "ref_img_path", "score"], self.source)
        names = [name.split("/", 1)[-1] for name in texts(table, "dis_img_path", path)]
        references = texts(table, "ref_img_path", path)
        return Annotation(
            names=names,
            folder=".",
            scores=numbers(table, "score", path),
            references=[name.split("/")[-1] for name in references],
            types=[kind.strip() for kind in texts(table, "dis_type", path)],
            levels=[_level(name, path) for name in names],
            reference_files=[name.split("/", 1)[-1] for name in references],
        )


def _level(name: str, path: Path) -> int:
    try:
        return int(name.split(".")[-2])
    except (IndexError, ValueError):
        raise UserError(f"{path}: invalid image name {name!r}; expected <reference>.<type>.<level>.png") from None
