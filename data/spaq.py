"""SPAQ (Fang et al., CVPR 2020): 11,125 smartphone photos."""

import pandas as pd
from PIL import Image

from data.iqa_dataset import Annotation, IQADataset, find_file, numbers
from utils.errors import UserError
from utils.image import open_image

SHORTER_SIDE = 512  # pixels; the photos are resized to it before the crops


class SPAQDataset(IQADataset):
    """`Annotations/MOS and Image attribute scores.xlsx`: Image name, MOS; the photos lie in `TestImage/`."""

    name = "spaq"
    folder = "SPAQ"
    source = "https://github.com/h4nwei/SPAQ"
    mos_range = (1.0, 100.0)

    def read_annotation(self) -> Annotation:
        path = find_file(self.root, "Annotations/MOS and Image attribute scores.xlsx")
        if not path.exists():
            raise UserError(f"{path}: not found; the annotation file is distributed with the dataset ({self.source})")
        try:
            table = pd.read_excel(path)
        except (OSError, ValueError, KeyError) as error:
            raise UserError(f"{path}: not a readable sheet ({str(error).splitlines()[0]})") from error
        table.columns = [str(column).strip() for column in table.columns]
        missing = [column for column in ("Image name", "MOS") if column not in table.columns]
        if missing:
            raise UserError(f"{path}: lacks the column {', '.join(missing)}; it has {', '.join(table.columns)}")
        return Annotation([str(n).strip() for n in table["Image name"]], "TestImage", numbers(table, "MOS", path))

    def open_image(self, index: int) -> Image.Image:
        return resize_shorter_side(open_image(self.images[index]))


def resize_shorter_side(image: Image.Image) -> Image.Image:
    """Bicubic resize to a shorter side of 512 pixels and a longer one of int(512 * aspect)."""
    w, h = image.size
    size = (SHORTER_SIDE, int(SHORTER_SIDE * h / w)) if w < h else (int(SHORTER_SIDE * w / h), SHORTER_SIDE)
    return image.resize(size, Image.Resampling.BICUBIC)
