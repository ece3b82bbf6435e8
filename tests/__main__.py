"""Runs all checks that a change must pass (style, types, tests): python -m tests."""

import subprocess
import sys

from utils.command import run_command

CHECKS = (
    ("ruff", "check", "."),
    ("ruff", "format", "--check", "."),
    ("mypy",),
    ("pytest", "-n", "2", "--dist", "loadgroup", "--no-loadscope-reorder"),  # slow files first, as they are collected
)


def main() -> int:
    failed = []
    for check in CHECKS:
        print(f"\n$ python -m {' '.join(check)}", flush=True)
        if subprocess.run([sys.executable, "-m", *check]).returncode != 0:
            failed.append(" ".join(check))
    print(f"\nfailed: {', '.join(failed)}" if failed else "\nstyle, types and tests: all passed")
    return int(bool(failed))


if __name__ == "__main__":
    run_command(main)
