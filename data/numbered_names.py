"""File names that say what an image is: I01_07_03.png is reference I01, type 7, level 3 (TID2013, KADID-10k)."""

from collections.abc import Sequence
from pathlib import Path

from utils.errors import UserError


def parse_numbered_names(
    names: Sequence[str], types: Sequence[str], path: Path
) -> tuple[list[str], list[str], list[int]]:
    """Reference, type and level of each name.

    Args:
        names: <reference>_<type number>_<level>.<suffix>.
        types: their names, that of number 1 first.
        path: of the annotation, for messages.

    Raises:
        UserError: a name is not of that form, or its type does not exist.
    """
    parsed = []
    for name in names:
        try:
            reference, kind, level = name.rsplit(".", 1)[0].split("_")
            if not 1 <= int(kind) <= len(types):
                raise ValueError
            parsed.append((reference.upper(), types[int(kind) - 1], int(level)))
        except ValueError:
            raise UserError(
                f"{path}: {name!r} is not <reference>_<type 1..{len(types)}>_<level>.<suffix>, as image names are there"
            ) from None
    references, kinds, levels = (list(column) for column in zip(*parsed, strict=True)) if parsed else ([], [], [])
    return references, kinds, levels
