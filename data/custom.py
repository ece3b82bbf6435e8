"""A user's own dataset: any folder with a labels.csv. No new class is needed."""

import posixpath
import sys
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from data.iqa_dataset import Annotation, IQADataset
from data.tables import numbers, read_table, texts
from models.errors import UserError
from utils.config.yaml_file import read_yaml
from utils.runtime.distributed import is_rank0

LABELS = "labels.csv"
SETTINGS = "dataset.yaml"
COLUMNS = "image,score and optionally reference,type,group,level"


class CustomDataset(IQADataset):
    """Annotation: `labels.csv` with the columns image, score and optionally reference, type, group, level.

    The dataset has the name of its folder. Paths in `image` are relative to the folder; `group` is the group of `type`;
    without that column each type is a group.

    The optional file `dataset.yaml` sets `range: [lowest, highest]` (default: the range of the scores) and whether
    higher or lower scores are better, `direction: higher` (default) or `direction: lower`. If one of these defaults is
    used, both are printed. `scores: human` or `scores: pseudo` says whose scores they are; without it nothing does.
    """

    source = f"your own folder with a {LABELS}, columns: {COLUMNS}"

    def __init__(
        self, root: str | Path, crop_size: int = 224, shorter_side: int | None = None, with_splits: bool = True
    ) -> None:
        self.name = self.folder = Path(root).name
        super().__init__(root, crop_size, shorter_side, with_splits)

    def read_annotation(self) -> Annotation:
        path = self.root / LABELS
        table = read_table(path, ["image", "score"], self.source, ["reference", "type", "group", "level"])
        scores, names = numbers(table, "score", path), texts(table, "image", path)
        for row, name in enumerate(names, 1):
            if posixpath.normpath(name.replace("\\", "/")).startswith(("/", "..")) or Path(name).is_absolute():
                raise UserError(f"{path}: image in row {row} is {name!r}; allowed: a path inside the folder")
        references, types, groups = (
            texts(table, name, path) if name in table.columns else None for name in ("reference", "type", "group")
        )
        levels = _levels(numbers(table, "level", path), path) if "level" in table.columns else None
        self.synthetic = references is not None
        if groups is not None:
            self.groups = _group_of_type(types, groups, path)
        elif types is not None:
            self.groups = {kind: kind for kind in types}
        self._read_settings(float(scores.min()), float(scores.max()))
        return Annotation(names, ".", scores, references, types, levels)

    def _read_settings(self, lowest: float, highest: float) -> None:
        path = self.root / SETTINGS
        settings = read_yaml(path) if path.exists() else {}
        if not set(settings) <= {"range", "direction", "scores"}:
            raise UserError(
                f"{path}: unknown content; allowed: range [lowest, highest], direction higher or lower, "
                "scores human or pseudo"
            )
        direction = settings.get("direction", "higher")
        if direction not in ("higher", "lower"):
            raise UserError(f"{path}: direction is {direction!r}; allowed: higher or lower (the better scores)")
        self.score_kind = settings.get("scores", "unstated")
        if "scores" in settings and self.score_kind not in ("human", "pseudo"):
            raise UserError(f"{path}: scores is {self.score_kind!r}; allowed: human or pseudo")
        bounds = settings.get("range", [lowest, highest])
        if not (isinstance(bounds, list) and len(bounds) == 2 and all(map(_is_number, bounds))):
            raise UserError(f"{path}: range is {bounds!r}; expected [lowest, highest]")
        if not bounds[0] < bounds[1]:
            raise UserError(f"{self.root}: score range {bounds} is empty; set range: [lowest, highest] in {SETTINGS}")
        self.mos_range = (float(bounds[0]), float(bounds[1]))
        self.mos_type = "mos" if direction == "higher" else "dmos"
        if not {"range", "direction"} <= set(settings):
            low, high = self.mos_range
            _say(
                self.root,
                f"{self.name}: scores {low:g} to {high:g}, {direction} is better (to change, edit {SETTINGS})",
            )


def _levels(values: NDArray[np.float64], path: Path) -> list[int]:
    for row, value in enumerate(values.tolist(), 1):
        if not value.is_integer():
            raise UserError(f"{path}: level in row {row} is {value:g}; expected a whole number")
    return [int(value) for value in values]


def _group_of_type(types: list[str] | None, groups: list[str], path: Path) -> dict[str, str]:
    if types is None:
        raise UserError(f"{path}: the column group needs the column type, whose groups it has")
    found: dict[str, str] = {}
    for kind, group in zip(types, groups, strict=True):
        if found.setdefault(kind, group) != group:
            raise UserError(f"{path}: the type {kind} is in the groups {found[kind]} and {group}; allowed: one group")
    return found


@cache
def _say(_: Path, line: str) -> None:
    """Prints a line once for a folder, however often the dataset is opened."""
    if is_rank0():
        print(line, file=sys.stderr)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max
