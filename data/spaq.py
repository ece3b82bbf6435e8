"""SPAQ (Fang et al., CVPR 2020): 11,125 smartphone photos."""

from zipfile import BadZipFile

from data.iqa_dataset import Annotation, IQADataset, find_file
from data.tables import as_table, numbers, texts
from models.errors import UserError
from models.files import check_regular


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
        if not path.exists():
            raise UserError(f"{path}: not found; the annotation file is distributed with the dataset ({self.source})")
        check_regular(path)
        try:
            rows = pd.read_excel(path, header=None, dtype=str, keep_default_na=False).to_numpy().tolist()
        except (OSError, ValueError, KeyError, BadZipFile) as error:
            raise UserError(f"{path}: not a readable Excel file ({str(error).splitlines()[0]})") from error
        table = as_table(rows, ["Image name", "MOS"], path)
        names = [name.strip() for name in texts(table, "Image name", path)]
        return Annotation(names, "TestImage", numbers(table, "MOS", path))
