"""KonIQ-10k (Hosu, Lin, Sziranyi and Saupe, TIP 2020): 10,073 photos."""

from data.iqa_dataset import Annotation, IQADataset
from data.tables import numbers, read_table, texts
from models.errors import UserError

SIZES = ("1024x768", "512x384")


class KonIQ10kDataset(IQADataset):
    """Annotation: `koniq10k_scores_and_distributions.csv` with the columns image_name, MOS_zscore (1..100).

    The photos are in `1024x768/` or `512x384/`; the larger ones are used if both folders exist.
    """

    name = "koniq10k"
    folder = "KonIQ-10k"
    source = "http://database.mmsp-kn.de/koniq-10k-database.html"
    mos_range = (1.0, 100.0)

    def read_annotation(self) -> Annotation:
        path = self.root / "koniq10k_scores_and_distributions.csv"
        table = read_table(path, ["image_name", "MOS_zscore"], self.source)
        size = next((size for size in SIZES if (self.root / size).is_dir()), None)
        if size is None:
            raise UserError(f"{self.root}: photos not found; expected a folder {SIZES[0]} or {SIZES[1]}")
        return Annotation(texts(table, "image_name", path), size, numbers(table, "MOS_zscore", path))
