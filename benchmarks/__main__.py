"""Runs all benchmarks on this machine and writes docs/benchmarks.md: python -m benchmarks [--device cuda] [--out FILE].

Each benchmark is a separate command that measures this project and a baseline in the same run. The last line of its
output is the result.
"""

import argparse
import subprocess
import sys
from datetime import date
from pathlib import Path

from benchmarks.harness import machine
from models.errors import UserError
from models.files import check_replaceable, write_text
from utils.command import run_command
from utils.runtime.environment import commit

ROOT = Path(__file__).resolve().parents[1]
COMMANDS = (
    ("Training step", "benchmarks.training"),
    ("Training step at 112 pixels, also compiled", "benchmarks.training --patch_size 112 --compile --repeats 6"),
    ("Features of a dataset", "benchmarks.features"),
    ("Scoring an image", "benchmarks.inference"),
    ("Grid search, size of TID2013", "benchmarks.ridge --datasets tid2013"),
    ("Grid search, size of KADID-10k", "benchmarks.ridge --datasets kadid10k"),
    ("Degradation model", "benchmarks.degradation"),
)
ON_A_DEVICE = (
    ("Training step", "benchmarks.training --repeats 20 --compile"),
    ("Training step in bfloat16", "benchmarks.training --repeats 20 --precision bfloat16"),
    ("Features of a dataset", "benchmarks.features --images 64"),
    ("Features of a dataset in TF32", "benchmarks.features --images 64 --precision tf32"),
    ("Features of a dataset in float16", "benchmarks.features --images 64 --precision float16"),
    ("Scoring an image", "benchmarks.inference --repeats 20 --images 512"),
    ("Grid search, size of KADID-10k", "benchmarks.ridge --datasets kadid10k"),
)

NOTES = "## What the figures depend on\n"


def run(command: str) -> tuple[str, bool]:
    """Runs a module and prints its output line by line; returns the output and whether it succeeded."""
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
    return "".join(lines).strip(), process.returncode == 0


def page(outputs: list[tuple[str, str, str]], notes: str = "") -> str:
    """Returns the Markdown page: a table of the results, notes, then the full output of each command."""
    rows = [f"| {title} | {output.splitlines()[-1]} | `python -m {command}` |" for title, command, output in outputs]
    details = [f"## {title}\n\n`python -m {command}`\n\n```\n{output}\n```" for title, command, output in outputs]
    head = f"""\
# Benchmarks

Written by `python -m benchmarks`. Each benchmark measures this code and its baseline in the same run. The
ratios should be similar on other machines; the times are valid for this machine only.

- {machine()}
- {date.today():%Y-%m-%d}, commit {commit()}

| benchmark | result | command |
|---|---|---|"""
    return "\n".join([head, *rows, "", notes + "\n\n".join(details), ""])


def kept_notes(path: Path) -> str:
    """Returns the handwritten section of notes of an existing page, or an empty string."""
    _, heading, rest = (path.read_text(encoding="utf-8") if path.exists() else "").partition(NOTES)
    return heading + rest.partition("\n## ")[0] + "\n" if heading else ""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--out", type=Path, default=ROOT / "docs" / "benchmarks.md", help="output file (default: %(default)s)"
    )
    parser.add_argument(
        "--device", default="cpu", help="compute device of the network and the ridge (default: %(default)s)"
    )
    options = parser.parse_args()
    check_replaceable("--out", options.out, b"Written by `python -m benchmarks`")
    if not options.out.parent.is_dir():
        raise UserError(f"--out: {options.out.parent} is not a folder; use a path in an existing folder")
    commands = list(COMMANDS)
    if options.device != "cpu":
        commands = [(title, f"{command} --device {options.device}") for title, command in ON_A_DEVICE]
    outputs, succeeded = [], []
    for title, command in commands:
        print(f"\n{title}: python -m {command}", flush=True)
        output, success = run(command)
        outputs.append((title, command, output))
        succeeded.append(success)
    write_text(options.out, page(outputs, kept_notes(options.out)))
    print(f"\nwritten to {options.out}")
    return int(not all(succeeded))


if __name__ == "__main__":
    run_command(main)
