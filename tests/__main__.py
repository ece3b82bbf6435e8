"""Everything that must hold before a change goes in: python -m tests (style, types, tests)."""

import subprocess
import sys

CHECKS = (
    ("ruff", "check", "."),
    ("ruff", "format", "--check", "."),
    ("mypy",),
    ("pytest",),
)


def main() -> int:
    failed = []
    for check in CHECKS:
        print(f"\n$ python -m {' '.join(check)}", flush=True)
        if subprocess.run([sys.executable, "-m", *check]).returncode != 0:
            failed.append(" ".join(check))
    print(f"\nfailed: {', '.join(failed)}" if failed else "\nstyle, types and tests: all good")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
