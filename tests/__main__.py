"""Runs all checks that a change must pass (style, types, tests): python -m tests."""

import subprocess
import sys
import time

from utils.command import run_command

CHECKS = (
    ("ruff", "check", "."),
    ("ruff", "format", "--check", "."),
    ("mypy",),
    (
        "pytest",
        "-n",
        "2",
        "--dist",
        "loadgroup",
        "--no-loadscope-reorder",
    ),  # as collected: slow files first
)


def main() -> int:
    failed, start = [], time.monotonic()
    for check in CHECKS:
        print(f"\n$ python -m {' '.join(check)}", flush=True)
        if subprocess.run([sys.executable, "-m", *check]).returncode != 0:
            failed.append(" ".join(check))
    minutes, seconds = divmod(round(time.monotonic() - start), 60)
    outcome = f"failed: {', '.join(failed)}" if failed else "style, types and tests: all passed"
    print(f"\n{outcome} ({minutes} min {seconds} s)")
    return int(bool(failed))


if __name__ == "__main__":
    run_command(main)
