"""SPAQ (Fang et al., CVPR 2020): 11,125 smartphone photos."""

from data.iqa_dataset import Annotation, IQADataset, find_file
from data.tables import as_table, numbers, texts
from models.files import parsing


class SPAQDataset(IQADataset):
    """Annotation: `Annotations/MOS and Image attribute scores.xlsx` with the columns Image name, MOS.

    The photos are in `TestImage/`. As published, they are resized before they are cropped.
    """

    name = "spaq"
    folder = "SPAQ"
    source = "https://github.com/h4nwei/SPAQ"
    mos_range = (1.0, 100.0)
    own_shorter_side = 512

    def read_annotation(self) -> Annotation:
        import pandas as pd

        path = find_file(self.root, "Annotations/MOS and Image attribute scores.xlsx")
        with parsing(path, "a readable Excel file", f"it is distributed with the dataset ({self.source})"):
            rows = pd.read_excel(path, header=None, dtype=str, keep_default_na=False).to_numpy().tolist()
        table = as_table(rows, ["Image name", "MOS"], path)
        names = [name.strip() for name in texts(table, "Image name", path)]
        return Annotation(names, "TestImage", numbers(table, "MOS", path))
