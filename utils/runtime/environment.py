"""Environment of a run: versions, machine and commit."""

import platform
import subprocess
from importlib import metadata
from pathlib import Path

PACKAGES = ("torch", "torchvision", "numpy", "scipy", "scikit-learn", "pillow")
ROOT = Path(__file__).resolve().parents[2]


def run_environment() -> dict[str, str]:
    """Returns the versions of Python and of packages that affect results, the machine type, and the commit."""
    versions = {"Python": platform.python_version()} | {name: metadata.version(name) for name in PACKAGES}
    return versions | {"machine": f"{platform.system()} {platform.machine()}", "commit": commit()}


def commit() -> str:
    """Returns the commit of the checkout, with "(modified)" if tracked files differ from it; "unknown" without git."""
    command = ["git", "describe", "--always", "--exclude=*", "--abbrev=40", "--dirty= (modified)"]
    try:
        done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, encoding="utf-8")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return done.stdout.strip()
