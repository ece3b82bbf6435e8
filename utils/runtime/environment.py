"""What a run was made with: versions, machine and commit."""

import platform
import subprocess
from importlib import metadata
from pathlib import Path

PACKAGES = ("torch", "torchvision", "numpy", "scipy", "scikit-learn", "pillow")
ROOT = Path(__file__).resolve().parents[2]


def run_environment() -> dict[str, str]:
    """Versions of Python and the packages that figures depend on, the machine's kind, and the checkout's commit."""
    versions = {"Python": platform.python_version()} | {name: metadata.version(name) for name in PACKAGES}
    return versions | {"machine": f"{platform.system()} {platform.machine()}", "commit": commit()}


def commit() -> str:
    """The commit of the checkout, followed by "(modified)" if tracked files differ from it; "unknown" without git."""
    command = ["git", "describe", "--always", "--exclude=*", "--abbrev=40", "--dirty= (modified)"]
    try:
        done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, encoding="utf-8")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return done.stdout.strip()
