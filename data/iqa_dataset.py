"""What the image-quality datasets have in common: images, scores, splits and crops."""

import hashlib
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch.utils.data import Dataset

from data.splits import read_splits
from utils.errors import UserError
from utils.image import center_corners_crop, half_scale, normalize, open_image, to_tensor


class IQADataset(Dataset):
    """Images with quality scores. A subclass reads the annotation (`_read`) and says what its scores mean.

    Attributes:
        name, folder: as configurations and `data_base_path` have it.
        mos_range: nominal (lowest, highest) score; mos_type: "mos" (higher is better) or "dmos" (lower is better).
        images: paths, in the order of the annotation file; mos: their scores, float64.
        ref_images, distortion_types, distortion_groups, distortion_levels: of each image, or None.
    """

    name: ClassVar[str]
    folder: ClassVar[str]
    mos_range: ClassVar[tuple[float, float]]
    mos_type: ClassVar[str] = "mos"
    synthetic: ClassVar[bool] = False

    def __init__(self, root: str | Path, crop_size: int = 224) -> None:
        self.root = Path(root)
        self.crop_size = crop_size
        self.images: list[Path] = []
        self.mos = np.empty(0)
        self.ref_images: list[str] | None = None
        self.distortion_types: list[str] | None = None
        self.distortion_groups: list[str] | None = None
        self.distortion_levels: list[int] | None = None
        if not self.root.is_dir():
            raise UserError(f"{self.root}: no such folder; it should hold {self.name} (see 'Datasets' in README.md)")
        self._read()
        self._splits = read_splits(self.name, self.root, len(self.images))

    def _read(self) -> None:
        raise NotImplementedError

    @property
    def annotation_hash(self) -> str:
        text = "\n".join(f"{p.name.casefold()} {m!r}" for p, m in zip(self.images, self.mos.tolist(), strict=True))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def num_splits(self) -> int:
        return len(self._splits["train"])

    def get_split_indices(self, split: int, phase: str) -> np.ndarray:
        """Row numbers of a phase (train, val, test, all) of a split, without padding."""
        if phase == "all":
            return np.arange(len(self.images))
        row = self._splits[phase][split]
        return row[row >= 0]

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """`full` and `half`: the five crops at each scale, 5 x 3 x crop_size x crop_size, normalised; `index`."""
        image = open_image(self.images[index])

        def crops(scale: Any) -> torch.Tensor:
            return torch.stack([normalize(to_tensor(c)) for c in center_corners_crop(scale, self.crop_size)])

        return {"full": crops(image), "half": crops(half_scale(image)), "index": index}
