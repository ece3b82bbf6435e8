from pathlib import Path

from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[1]


def versions(file: str, operator: str) -> dict[str, Version]:
    """The version that a requirements file names for each package."""
    lines = (ROOT / file).read_text(encoding="utf-8").splitlines()
    found = {}
    for requirement in (Requirement(line) for line in lines if line and not line.startswith("#")):
        (bound,) = requirement.specifier
        assert bound.operator == operator, requirement
        found[requirement.name] = Version(bound.version)
    return found


def test_the_lower_bounds_are_the_versions_that_are_tested() -> None:
    assert versions("requirements.txt", ">=") == versions("constraints-lowest.txt", "==")
