"""KADID-10k (Lin, Hosu and Saupe, QoMEX 2019): 81 references, 25 types of distortion, 5 levels."""

import pandas as pd

from data.iqa_dataset import IQADataset


class KADID10KDataset(IQADataset):
    name = "kadid10k"
    folder = "KADID10K"
    mos_range = (1, 5)
    synthetic = True

    def _read(self) -> None:
        table = pd.read_csv(self.root / "dmos.csv")
        self.images = [self.root / "images" / n for n in table["dist_img"]]
        self.mos = table["dmos"].to_numpy(float)
        self.ref_images = list(table["ref_img"])
        self.distortion_types = [n.split("_")[1] for n in table["dist_img"]]
        self.distortion_groups = self.distortion_types
        self.distortion_levels = [int(n.split("_")[2][:2]) for n in table["dist_img"]]
