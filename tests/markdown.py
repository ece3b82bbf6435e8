"""Reads tables from Markdown files."""

from pathlib import Path


def table_rows(path: Path, heading: str) -> list[list[str]]:
    """The rows, as lists of cells, of the first table after a heading in a Markdown file."""
    below = path.read_text(encoding="utf-8").split(f"\n## {heading}\n", 1)[1]
    lines = [line for line in below.split("\n## ", 1)[0].splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]
