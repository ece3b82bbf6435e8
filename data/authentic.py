"""Readers of the authentic datasets: photos with the distortions that they were taken with."""

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from data.iqa_dataset import Annotation, IQADataset, same_name
from data.tables import excel_rows
from models.errors import UserError

T = TypeVar("T")


class FLIVEDataset(IQADataset):
    """FLIVE, also known as PaQ-2-PiQ (Ying et al., CVPR 2020): 39,810 photos in `database/`.

    Annotation: `labels_image.csv` with the columns name, mos. The single, official split comes from the dataset's own
    files: test images are listed in labels640.csv, validation images have `is_valid` set in labels=640_padded.csv, and
    the rest is for training.
    """

    name = "flive"
    folder = "FLIVE"
    source = "https://baidut.github.io/PaQ-2-PiQ/#download-zone"
    mos_range = (1.0, 100.0)

    def read_annotation(self) -> Annotation:
        table = self.table("labels_image.csv", ["name", "mos"])
        return Annotation(table.texts("name"), "database", table.numbers("mos"))

    def official_phases(self) -> list[str]:
        tested = self.table("labels640.csv", ["name_image"]).columns["name_image"]
        padded = self.table("labels=640_padded.csv", ["name_image", "is_valid"]).columns
        flags = (flag.strip().casefold() in ("true", "1", "1.0") for flag in padded["is_valid"])
        phases = {_key(name): "val" for name, valid in zip(padded["name_image"], flags, strict=True) if valid}
        phases |= {_key(name): "test" for name in tested}
        return [phases.get(_key(name), "train") for name in self.names]


class SPAQDataset(IQADataset):
    """SPAQ (Fang et al., CVPR 2020): 11,125 smartphone photos in `TestImage/`.

    Annotation: `Annotations/MOS and Image attribute scores.xlsx` with the columns Image name, MOS. As published, the
    photos are resized before they are cropped.
    """

    name = "spaq"
    folder = "SPAQ"
    source = "https://github.com/h4nwei/SPAQ"
    mos_range = (1.0, 100.0)
    own_shorter_side = 512

    def read_annotation(self) -> Annotation:
        file = "Annotations/MOS and Image attribute scores.xlsx"
        table = self.table(file, ["Image name", "MOS"], rows=excel_rows)
        return Annotation([name.strip() for name in table.texts("Image name")], "TestImage", table.numbers("MOS"))


class CLIVEDataset(IQADataset):
    """CLIVE, the LIVE In the Wild Image Quality Challenge (Ghadiyaram and Bovik, TIP 2016): 1,162 photos in `Images/`.

    Annotation: `Data/AllImages_release.mat` and `Data/AllMOS_release.mat`, without their first images, which trained
    the raters and are not part of the dataset.
    """

    name = "clive"
    folder = "CLIVE"
    source = "https://live.ece.utexas.edu/research/ChallengeDB/index.html"
    mos_range = (1.0, 100.0)
    training_images = 7

    def read_annotation(self) -> Annotation:
        names = self._load("AllImages_release", lambda cell: str(np.asarray(cell).ravel()[0]))
        scores = self._load("AllMOS_release", float)
        if len(names) != len(scores):
            raise UserError(f"{self.root / 'Data'}: {len(names)} image names but {len(scores)} scores; they must match")
        return Annotation(names[self.training_images :], "Images", scores[self.training_images :])

    def _load(self, variable: str, convert: Callable[[Any], T]) -> list[T]:
        """Reads the variable that a .mat file is named after and converts its elements."""
        import scipy.io

        path = self.root / "Data" / f"{variable}.mat"
        with self.parsing(path, "a readable .mat file"), path.open("rb") as file:
            return [convert(element) for element in np.asarray(scipy.io.loadmat(file)[variable]).ravel()]


class KonIQ10kDataset(IQADataset):
    """KonIQ-10k (Hosu, Lin, Sziranyi and Saupe, TIP 2020): 10,073 photos.

    Annotation: `koniq10k_scores_and_distributions.csv` with the columns image_name, MOS_zscore (1..100). The photos are
    in `1024x768/` or `512x384/`; the larger ones are used if both folders exist.
    """

    name = "koniq10k"
    folder = "KonIQ-10k"
    source = "http://database.mmsp-kn.de/koniq-10k-database.html"
    mos_range = (1.0, 100.0)

    def read_annotation(self) -> Annotation:
        table = self.table("koniq10k_scores_and_distributions.csv", ["image_name", "MOS_zscore"])
        size = next((size for size in ("1024x768", "512x384") if (self.root / size).is_dir()), None)
        if size is None:
            raise UserError(f"{self.root}: photos not found; expected a folder 1024x768 or 512x384")
        return Annotation(table.texts("image_name"), size, table.numbers("MOS_zscore"))


class UHDIQADataset(IQADataset):
    """UHD-IQA (Hosu, Agnolucci, Wiedemann, Iso and Saupe, ECCV workshops 2024): 6,073 photos of 3,840 pixels and more.

    Annotation: `uhd-iqa-metadata.csv` with the columns image_name, quality_mos, set. The photos of each set are in the
    folder of its name. The sets are the single, official split.
    """

    name = "uhdiqa"
    folder = "UHD-IQA"
    source = "https://database.mmsp-kn.de/uhd-iqa-benchmark-database.html"
    mos_range = (0.0, 1.0)
    phases = {"training": "train", "validation": "val", "test": "test"}  # by set

    def read_annotation(self) -> Annotation:
        table = self.table("uhd-iqa-metadata.csv", ["image_name", "quality_mos", "set"])
        sets = table.match("set", rf"\s*({'|'.join(self.phases)})\s*", " or ".join(self.phases))
        names = [f"{folder}/{name}" for (folder,), name in zip(sets, table.texts("image_name"), strict=True)]
        return Annotation(names, ".", table.numbers("quality_mos"))

    def official_phases(self) -> list[str]:
        return [self.phases[name.split("/")[0]] for name in self.names]


def _key(name: str) -> str:
    return same_name(name.replace("\\", "/"))
