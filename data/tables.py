"""Annotation tables: rows of text under named columns, from CSV files, spreadsheets and plain text."""

import csv
import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from models.errors import UserError, shorten

T = TypeVar("T")
Rows = Sequence[Sequence[str]]


class Table:
    """Columns of an annotation file; fields are text.

    Attributes:
        path: of the file.
        columns: name -> fields, without those of empty rows.

    Args:
        path: of the file.
        rows: the columns' names, then rows of as many fields.
        columns: names of columns that must be there.
        optional: names of columns that may be there.

    Raises:
        UserError: there are no rows, a column is missing or there twice, or a row is longer or shorter than the header.
    """

    def __init__(self, path: Path, rows: Rows, columns: Sequence[str], optional: Sequence[str] = ()) -> None:
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
        self.path = path
        self.columns = dict(zip(names, zip(*body, strict=True), strict=True))

    def parse(self, column: str, parse: Callable[[str], T | None], expected: str) -> list[T]:
        """Converts the fields of a column.

        Args:
            column: its name.
            parse: converts a field, to None if it is not as expected.
            expected: what a field should be, "a whole number".

        Raises:
            UserError: a field is not as expected; the message gives its row.
        """
        values = []
        for row, field in enumerate(self.columns[column], 1):
            value = parse(field)
            if value is None:
                found = shorten(repr(field)) if field.strip() else "empty"
                raise UserError(f"{self.path}: {column} in row {row} is {found}; expected {expected}")
            values.append(value)
        return values

    def numbers(self, column: str) -> list[float]:
        """Returns a column of finite numbers."""
        return self.parse(column, _number, "a number such as 3.5")

    def texts(self, column: str) -> list[str]:
        """Returns a column of names, which are not empty and have no control characters such as line breaks."""
        return self.parse(column, _line, "text on one line")

    def match(self, column: str, pattern: str, expected: str) -> list[tuple[str, ...]]:
        """Returns the groups of a regular expression that must match each whole field."""

        def groups(field: str) -> tuple[str, ...] | None:
            found = re.fullmatch(pattern, field)
            return found and found.groups()

        return self.parse(column, groups, expected)


def csv_rows(path: Path) -> Rows:
    """Reads the rows of a UTF-8 CSV file; a wrong quote is an error that names its line."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, skipinitialspace=True, strict=True)
        try:
            return list(reader)
        except csv.Error as error:
            raise UserError(f"{path}: not a readable table (line {reader.line_num}: {error})") from error


def excel_rows(path: Path) -> Rows:
    """Reads the rows of a spreadsheet's first sheet."""
    import pandas as pd  # here, because a data-loading worker needs no tables

    return pd.read_excel(path, header=None, dtype=str, keep_default_na=False).to_numpy().tolist()


def _number(field: str) -> float | None:
    try:
        value = float(field)
    except ValueError:
        return None
    return value if math.isfinite(value) and "_" not in field else None


def _line(field: str) -> str | None:
    return field if field.strip() and not re.search(r"[\x00-\x1f\x7f]", field) else None
