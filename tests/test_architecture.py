"""The layers of docs/architecture.md: what is named there exists, and imports go down only."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
# From the ground up; a module may import from its own layer and from those below.
LAYERS = (
    ("models",),
    (
        "utils.command",
        "utils.metrics",
        "utils.regression",
        "utils.optimization",
    ),
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


@pytest.mark.parametrize("path", FILES, ids=[str(path.relative_to(ROOT)) for path in FILES])
def test_imports_go_down(path: Path) -> None:
    own = layer_of(module(path))
    if own is None:
        assert path.name in ("hubconf.py", "__init__.py")
        return
    layers_of = {name: layer_of(name) for name in imported(path)}
    assert {name for name, number in layers_of.items() if number is not None and number > own} == set()


def test_what_the_hub_loads_imports_nothing_outside_models() -> None:
    seen, todo = set(), ["models.arniqa", "models.encoder"]
    while todo:
        name = todo.pop()
        path = ROOT.joinpath(*name.split(".")).with_suffix(".py")
        if name in seen or not path.exists():
            continue
        seen.add(name)
        ours = {n for n in imported(path) if n.split(".")[0] in ("data", "utils", "models")}
        assert all(n.startswith("models.") for n in ours), (name, ours)
        todo += ours
    assert {"models.weights", "models.resnet", "models.experiment", "models.image_file"} <= seen
    assert "models.export" not in seen


def test_the_init_of_a_package_is_a_docstring_and_nothing_else() -> None:
    for package in ("runtime", "config", "experiment", "evaluation", "report"):
        path = ROOT / "utils" / package / "__init__.py"
        tree = ast.parse(path.read_text(encoding="utf-8"))
        assert len(tree.body) == 1 and 3 <= len((ast.get_docstring(tree) or "").splitlines()) <= 8, path


def named() -> list[tuple[str, str]]:
    """(file, function or class) pairs of the page, in the form `file`: `name`, `name`."""
    pairs = []
    for file, names in re.findall(r"`([\w/]+\.py)`: ((?:`\w+`(?:, )?)+)", PAGE):
        pairs += [(file, name) for name in re.findall(r"`(\w+)`", names)]
    return pairs


@pytest.mark.parametrize(("file", "name"), named())
def test_what_the_page_names_exists(file: str, name: str) -> None:
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}


def test_the_files_that_the_pages_name_exist() -> None:
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))):
        text = page.read_text(encoding="utf-8")
        files = re.findall(r"`((?:utils|models|data|tests|benchmarks|configs)/[\w/]+\.\w+)`", text)
        missing = [file for file in files if not (ROOT / file).exists() and file != "data/pipal.py"]
        assert missing == [], page.name


def test_the_page_names_every_package_and_many_functions() -> None:
    assert len(named()) > 30
    for folder in (path for path in (ROOT / "utils").iterdir() if (path / "__init__.py").exists()):
        assert f"│ {folder.name}/" in PAGE


def test_the_names_of_an_experiments_files_are_spelt_in_one_place() -> None:
    """Docstrings may name them."""
    parts = re.compile(
        r"pretrain$|regressors$|(best|last)_epoch|metrics\.csv|results\.(json|csv|xlsx)|environment\.json"
    )
    spelt = set()
    for path in FILES:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        docstrings = {ast.get_docstring(n, clean=False) for n in ast.walk(tree) if isinstance(n, DOCUMENTED)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value not in docstrings:
                message = " " in node.value  # a sentence for the user
                if parts.search(node.value) and not message:
                    spelt.add(module(path))
    assert spelt == {"models.experiment"}


DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef)
