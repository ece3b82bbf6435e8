"""Runs every benchmark on this machine and writes docs/benchmarks.md: python -m benchmarks [--out FILE].

Each is a command of its own, with its baseline beside it in the same run, and prints its figure last.
"""

import argparse
import os
import platform
import subprocess
import sys
from datetime import date
from pathlib import Path

from benchmarks.machine import description
from utils.environment import commit
from utils.errors import UserError, run_command

ROOT = Path(__file__).resolve().parents[1]
COMMANDS = (
    ("Training step", "benchmarks.training"),
    ("Training step at 112 pixels, with torch.compile beside it", "benchmarks.training --patch_size 112 --compile"),
    ("Scoring an image", "benchmarks.inference"),
    ("Grid search at TID2013's size", "benchmarks.ridge --datasets tid2013"),
    ("Grid search at KADID-10k's size", "benchmarks.ridge --datasets kadid10k"),
    ("Degradation model", "benchmarks.degradation"),
)


def processor() -> str:
    """The processor's name, where the system tells it."""
    path = Path("/proc/cpuinfo")
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def run(command: str) -> tuple[str, int]:
    """Runs a module and shows its output as it comes; returns the output and the exit code."""
    lines = []
    with subprocess.Popen(
        [sys.executable, "-m", *command.split()], cwd=ROOT, stdout=subprocess.PIPE, text=True, encoding="utf-8"
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            lines.append(line)
    if process.returncode:
        lines.append(f"failed with exit code {process.returncode}\n")
    return "".join(lines).strip(), process.returncode


def page(outputs: list[tuple[str, str, str]]) -> str:
    """The Markdown page: a table of the figures, then each command's whole output."""
    rows = [f"| {title} | {output.splitlines()[-1]} | `python -m {command}` |" for title, command, output in outputs]
    details = [f"## {title}\n\n`python -m {command}`\n\n```\n{output}\n```" for title, command, output in outputs]
    head = [
        "# Benchmarks",
        "",
        "Written by `python -m benchmarks`, which runs each against its baseline, side by side on one machine. The",
        "ratio is what carries over to another machine; the times are of this one.",
        "",
        f"- {processor()}, {os.cpu_count()} cores; {description()}",
        f"- {date.today():%Y-%m-%d}, commit {commit()}",
        "",
        "| what | figure | command |",
        "|---|---|---|",
    ]
    return "\n".join([*head, *rows, "", "\n\n".join(details), ""])


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "benchmarks.md", help="file to write (%(default)s)")
    options = parser.parse_args()
    if not options.out.parent.is_dir():
        raise UserError(f"--out: {options.out.parent} is no folder; the page is written into one that exists")
    outputs, codes = [], []
    for title, command in COMMANDS:
        print(f"\n{title}: python -m {command}", flush=True)
        output, code = run(command)
        outputs.append((title, command, output))
        codes.append(code)
    options.out.write_text(page(outputs), encoding="utf-8")
    print(f"\nwritten to {options.out}")
    return int(any(codes))


if __name__ == "__main__":
    run_command(main)
