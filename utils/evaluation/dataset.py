"""Interface of the datasets for evaluation, implemented by `data.IQADataset`."""

from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


class ScoredDataset(Protocol):
    """Dataset of N images with scores, splits, and optional references and distortions.

    Item i is a dict with `full` and `half` (5 x 3 x c x c each, uint8), `index` and `truncated`.
    """

    synthetic: bool
    images: list[Path]
    mos: NDArray[np.float64]
    ref_images: list[str] | None
    distortion_types: list[str] | None
    distortion_groups: list[str] | None
    distortion_levels: list[int] | None
    crop_size: int
    shorter_side: int | None

    @property
    def name(self) -> str: ...
    @property
    def annotation_hash(self) -> str: ...
    @property
    def splits_hash(self) -> str: ...
    @property
    def num_splits(self) -> int: ...
    def get_split_indices(self, split: int, phase: str) -> NDArray[np.int64]: ...
    def __len__(self) -> int: ...
    def __getitem__(self, index: int) -> dict[str, Any]: ...
