"""Annotation tables: CSV files and rows of other files, with every field as the text that is in the file."""

import csv
import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from models.errors import UserError, shorten
from models.files import parsing

if TYPE_CHECKING:  # a data-loading worker needs no tables
    import pandas as pd


def read_table(path: Path, columns: Sequence[str], source: str, optional: Sequence[str] = ()) -> "pd.DataFrame":
    """Reads a CSV file whose first line names its columns; see `as_table`."""
    reader = csv.reader(io.StringIO(read_text(path, source)), skipinitialspace=True, strict=True)
    try:
        rows = list(reader)
    except csv.Error as error:
        raise UserError(f"{path}: not a readable table (line {reader.line_num}: {error})") from error
    return as_table(rows, columns, path, optional)


def read_text(path: Path, source: str) -> str:
    """The text of an annotation file, in UTF-8.

    Raises:
        UserError: the file is missing, or is no text; the message says where to get it.
    """
    with parsing(path, "a readable table in UTF-8", f"it is distributed with the dataset ({source})"):
        return path.read_text(encoding="utf-8-sig")


def as_table(
    rows: Sequence[Sequence[str]], columns: Sequence[str], path: Path, optional: Sequence[str] = ()
) -> "pd.DataFrame":
    """A table from a row of column names and rows of as many fields; empty rows are left out.

    Args:
        rows: the fields, as text.
        columns: names of columns that must be there.
        path: of the file, for error messages.
        optional: names of columns that may be there.

    Raises:
        UserError: there are no rows, a column is missing or there twice, or a row is longer or shorter than the header.
    """
    import pandas as pd

    header, *body = [row for row in rows if any(row)] or [[]]
    names = [name.strip() for name in header]
    if not names:
        raise UserError(f"{path}: is empty; expected the columns {', '.join(columns)}")
    missing = [name for name in columns if name not in names]
    if missing:
        hint = "; columns are separated by commas" if len(names) == 1 else ""
        raise UserError(f"{path}: missing columns: {', '.join(missing)}; found: {', '.join(names)}{hint}")
    for name in (*columns, *optional):
        if names.count(name) > 1:
            raise UserError(f"{path}: the column {name} is there {names.count(name)} times; allowed: once")
    for number, row in enumerate(body, 1):
        if len(row) != len(names):
            raise UserError(
                f"{path}: row {number} has {len(row)} fields, the header {len(names)}; they must be equal "
                "(put a name that has a comma in quotes)"
            )
    if not body:
        raise UserError(f"{path}: the table has no rows")
    return pd.DataFrame(body, columns=names, dtype=object)


def numbers(table: "pd.DataFrame", column: str, path: Path) -> NDArray[np.float64]:
    """Converts a column to numbers.

    Raises:
        UserError: a value is not a finite number; the message gives its row.
    """
    import pandas as pd

    values = pd.to_numeric(table[column], errors="coerce").to_numpy(np.float64)
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        value = table[column].iloc[bad[0]]
        raise UserError(f"{path}: {column} in row {bad[0] + 1} is {_shown(value)}; expected a number such as 3.5")
    return values


def texts(table: "pd.DataFrame", column: str, path: Path) -> list[str]:
    """A column of names.

    Raises:
        UserError: a name is empty or has a control character, such as a line break; the message gives its row.
    """
    values: list[str] = table[column].tolist()
    for row, value in enumerate(values, 1):
        if not value.strip() or re.search(r"[\x00-\x1f\x7f]", value):
            raise UserError(f"{path}: {column} in row {row} is {_shown(value)}; expected text on one line")
    return values


def _shown(value: str) -> str:
    return shorten(repr(value)) if value.strip() else "empty"
