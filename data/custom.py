"""A user's own dataset: any folder with a labels.csv. No new class is needed."""

import posixpath
import sys
from functools import cache
from pathlib import Path
from typing import Literal

from data.iqa_dataset import Annotation, IQADataset
from data.tables import Table
from models.errors import UserError
from utils.config.schema import Key, read
from utils.config.yaml_file import read_yaml
from utils.runtime.distributed import is_rank0

LABELS = "labels.csv"
SETTINGS = "dataset.yaml"
COLUMNS = "image,score and optionally reference,type,group,level"
KEYS = {  # of dataset.yaml
    key.name: key
    for key in (
        Key("range", list[float], None, "nominal scores", within="(-inf, inf)", length=2, allowed="[lowest, highest]"),
        Key("direction", Literal["higher", "lower"], "higher", "the better scores"),
        Key("scores", Literal["human", "pseudo", "level"], "unstated", "whose scores they are"),
    )
}


class CustomDataset(IQADataset):
    """Annotation: `labels.csv` with the columns image, score and optionally reference, type, group, level.

    The dataset has the name of its folder. Paths in `image` are relative to the folder; `group` is the group of `type`;
    without that column each type is a group.

    The optional file `dataset.yaml` sets `range: [lowest, highest]` (default: the range of the scores) and whether
    higher or lower scores are better, `direction: higher` (default) or `direction: lower`. If one of these defaults is
    used, both are printed. `scores: human`, `pseudo` (computed) or `level` (of degradation) says what the scores are.
    """

    name = "your dataset"
    source = f"your own folder with a {LABELS}, columns: {COLUMNS}"

    def read_annotation(self) -> Annotation:
        self.name = self.folder = self.root.name
        table = self.table(LABELS, ["image", "score"], ["reference", "type", "group", "level"])
        scores, names = table.numbers("score"), table.texts("image")
        table.parse("image", _inside, "a path inside the folder")
        references, types = (table.texts(name) if name in table.columns else None for name in ("reference", "type"))
        levels = table.parse("level", _whole, "a whole number") if "level" in table.columns else None
        self.groups = _groups(table)
        self._read_settings(min(scores), max(scores))
        return Annotation(names, ".", scores, references, types, levels)

    def _read_settings(self, lowest: float, highest: float) -> None:
        path = self.root / SETTINGS
        settings = read(KEYS, read_yaml(path), f"{path}: ") if path.exists() else {}
        low, high = self.mos_range = tuple(settings.get("range", (lowest, highest)))
        if not low < high:
            raise UserError(
                f"{self.root}: score range {[low, high]} is empty; set range: [lowest, highest] in {SETTINGS}"
            )
        direction = settings.get("direction", KEYS["direction"].default)
        self.mos_type = "mos" if direction == "higher" else "dmos"
        self.score_kind = settings.get("scores", KEYS["scores"].default)
        if not {"range", "direction"} <= set(settings):
            line = f"{self.name}: scores {low:g} to {high:g}, {direction} is better (to change, edit {SETTINGS})"
            _say(self.root, line)


def _groups(table: Table) -> dict[str, str]:
    """Maps each type to its group; without groups, to its own name."""
    if "group" in table.columns and "type" not in table.columns:
        raise UserError(f"{table.path}: the column group needs the column type, whose groups it has")
    if "type" not in table.columns:
        return {}
    types = table.texts("type")
    found: dict[str, str] = {}
    for kind, group in zip(types, table.texts("group") if "group" in table.columns else types, strict=True):
        if found.setdefault(kind, group) != group:
            raise UserError(
                f"{table.path}: the type {kind} is in the groups {found[kind]} and {group}; allowed: one group"
            )
    return found


def _inside(name: str) -> str | None:
    first = posixpath.normpath(name.replace("\\", "/")).split("/")[0]
    return None if first in ("", "..") or Path(name).anchor else name


def _whole(field: str) -> int | None:
    try:
        return int(float(field)) if float(field).is_integer() else None
    except ValueError:
        return None


@cache
def _say(_: Path, line: str) -> None:
    """Prints a line once per folder."""
    if is_rank0():
        print(line, file=sys.stderr)
