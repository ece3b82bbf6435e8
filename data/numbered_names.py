"""File names of TID2013 and KADID-10k: I01_07_03.png is reference I01, distortion type 7, level 3."""

from collections.abc import Sequence
from pathlib import Path

from models.errors import UserError


def parse_numbered_names(
    names: Sequence[str], types: Sequence[str], path: Path
) -> tuple[list[str], list[str], list[int]]:
    """Splits each image name into reference, distortion type and level.

    Args:
        names: image names of the form <reference>_<type number>_<level>.<suffix>.
        types: type names; the first has number 1.
        path: annotation file, for error messages.

    Returns:
        References (upper case), type names and levels, one entry per image.

    Raises:
        UserError: a name has another form, or its type number does not exist.
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
                f"{path}: invalid image name {name!r}; expected <reference>_<type 1..{len(types)}>_<level>.<suffix>"
            ) from None
    references, kinds, levels = (list(column) for column in zip(*parsed, strict=True)) if parsed else ([], [], [])
    return references, kinds, levels
