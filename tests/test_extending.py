"""Follows the instructions in docs/extending.md: a new distortion type and a new dataset."""

import re
import shutil
from pathlib import Path

import pytest

from tests.contract.runs import quick

ROOT = Path(__file__).resolve().parents[1]


def blocks(heading: str) -> list[tuple[str, str]]:
    """The code blocks below a heading of docs/extending.md, as pairs of language and code."""
    below = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8").split(f"\n## {heading}\n", 1)[1]
    return re.findall(r"```(python|diff)\n(.*?)```", re.split(r"\n##+ ", below, maxsplit=1)[0], re.DOTALL)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for name in ("data", "utils", "models"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def follow(checkout: Path, heading: str) -> None:
    """Applies the code blocks to the file in their first line: appends Python code, inserts + lines of a diff."""
    steps = blocks(heading)
    assert sum(len(block.splitlines()) for _, block in steps) < 20
    for language, block in steps:
        first, *lines = block.splitlines()
        path = checkout / first.removeprefix("# ")
        if language == "python":
            before = path.read_text(encoding="utf-8") if path.exists() else ""
            path.write_text("\n".join([before, "", *lines, ""]), encoding="utf-8")
            continue
        content = path.read_text(encoding="utf-8").splitlines()
        at = 0
        for line in lines:
            if line.startswith("+"):
                indent = re.match(r"\s*", content[at])[0]  # type: ignore[index]
                content.insert(at + 1, indent + line[1:])
            else:
                (at,) = (i for i, there in enumerate(content) if there.strip() == line.strip())
        path.write_text("\n".join([*content, ""]), encoding="utf-8")


def run(checkout: Path, code: str) -> str:
    (checkout / "program.py").write_text(code, encoding="utf-8")
    ended = quick(checkout, "program")
    assert ended.code == 0, ended.err
    return ended.out


def test_the_instructions_for_a_new_distortion_work(checkout: Path) -> None:
    follow(checkout, "A new type of distortion")
    code = """
import torch
from utils.distortions import DISTORTIONS, degrade, sample_composition
new = next(name for name in DISTORTIONS if name == "vignette")
image = torch.full((3, 64, 64), 0.8)
changes = [
    (image - DISTORTIONS[new](image, level, torch.Generator())).abs().mean().item() for level in DISTORTIONS[new].levels
]
assert all(a < b for a, b in zip(changes, changes[1:])), changes
drawn = {name for seed in range(300) for name, _ in sample_composition(torch.Generator().manual_seed(seed))}
print(len(DISTORTIONS), new in drawn)
"""
    assert run(checkout, code).split() == ["25", "True"]


def test_the_instructions_for_a_new_dataset_work(checkout: Path) -> None:
    follow(checkout, "A new dataset")
    code = """
from pathlib import Path
from PIL import Image
from data import get_dataset
root = Path("base/PIPAL")
(root / "Distortion").mkdir(parents=True)
for i in range(12):
    Image.new("RGB", (40, 40), (20 * i, 0, 0)).save(root / "Distortion" / f"{i}.bmp")
(root / "labels.csv").write_text("name,elo\\n" + "\\n".join(f"{i}.bmp,{1400 + i}" for i in range(12)))
dataset = get_dataset("pipal", "base", crop_size=32)
print(len(dataset), dataset.mos[3], dataset.num_splits, tuple(dataset[0]["full"].shape))
"""
    assert run(checkout, code).strip() == "12 1403.0 10 (5, 3, 32, 32)"
