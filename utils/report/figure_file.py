"""Figures that a command writes to a file of the user's choice. The file's title says which command wrote it."""

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from models.files import check_replaceable, check_suffix, write_atomic

SUFFIXES = (".png", ".pdf", ".svg")  # formats whose metadata have a title


def check_figure(option: str, path: Path, title: str) -> None:
    """Checks that `save_figure` may write to `path`; see `check_suffix`, `check_replaceable`."""
    check_suffix(option, path, SUFFIXES)
    check_replaceable(option, path, title.encode())


def save_figure(figure: Figure, path: Path, title: str, **options: Any) -> None:
    """Writes a figure in the format of the suffix.

    Args:
        figure: a matplotlib figure.
        path: of the file.
        title: goes to the file's metadata.
        options: of `Figure.savefig`.

    Raises:
        UserError: the file cannot be written.
    """
    kind = path.suffix[1:].lower()
    write_atomic(path, lambda file: figure.savefig(file, format=kind, metadata={"Title": title}, **options))
