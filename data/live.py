"""LIVE Image Quality Assessment Database, release 2 (Sheikh, Sabir and Bovik, TIP 2006), realigned scores."""

from data.iqa_dataset import Annotation, IQADataset
from data.tables import numbers, read_table, texts

TYPES = {  # dis_type -> (type, group), as published
    "jp2k": ("jpeg2000", "jpeg"),
    "jpeg": ("jpeg", "jpeg"),
    "wn": ("white_noise", "noise"),
    "gblur": ("gaussian_blur", "blur"),
    "fastfading": ("fast_fading", "jpeg"),
}


class LIVEDataset(IQADataset):
    """Annotation: `LIVE.txt` with the columns dis_img_path, dis_type, ref_img_path, score.

    Each path begins with the name of the dataset.
    """

    name = "live"
    folder = "LIVE"
    source = "https://live.ece.utexas.edu/research/Quality/subjective.htm, LIVE.txt from the package iqadataset"
    mos_range = (1.0, 100.0)
    mos_type = "dmos"
    synthetic = True
    groups = dict(TYPES.values())

    def read_annotation(self) -> Annotation:
        path = self.root / "LIVE.txt"
        table = read_table(path, ["dis_img_path", "dis_type", "ref_img_path", "score"], self.source)
        references = texts(table, "ref_img_path", path)
        return Annotation(
            names=[name.split("/", 1)[-1] for name in texts(table, "dis_img_path", path)],
            folder=".",
            scores=numbers(table, "score", path),
            references=[name.split("/")[-1] for name in references],
            types=[TYPES.get(kind, (kind,))[0] for kind in map(str.strip, texts(table, "dis_type", path))],
            reference_files=[name.split("/", 1)[-1] for name in references],
        )
