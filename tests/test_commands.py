"""How every command ends when its output cannot be written, and when a name is too long."""

import runpy
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
COMMANDS = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__main__")
    for folder in ("", "data", "models", "utils", "benchmarks")
    for path in sorted(ROOT.joinpath(folder).glob("**/*.py" if folder else "*.py"))
    if '__name__ == "__main__"' in path.read_text(encoding="utf-8")
]
LONG = "x" * 5000


def run(name: str, *arguments: str, monkeypatch: pytest.MonkeyPatch) -> object:
    """Runs a command in this process, which has imported its packages already; returns its exit code."""
    monkeypatch.setattr(sys, "argv", [name, *arguments])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module(name, run_name="__main__", alter_sys=True)
    return ended.value.code


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a device that is always full")
@pytest.mark.filterwarnings("ignore:.*found in sys.modules:RuntimeWarning")
@pytest.mark.parametrize("name", COMMANDS)
def test_a_full_device_is_one_line_and_no_success(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with Path("/dev/full").open("w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        code = run(name, "--help", monkeypatch=monkeypatch)
    assert capsys.readouterr().err == "error: standard output cannot be written (No space left on device)\n"
    assert code == 2


@pytest.mark.filterwarnings("ignore:.*found in sys.modules:RuntimeWarning")
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("main", ("--config", "config.yaml", "--experiment_name", LONG)),
        ("single_image_inference", ("--img_path", LONG)),
        ("single_image_inference", ("--img_path", "assets", "--output", LONG)),
        ("single_image_inference", ("--img_path", "assets", "--weights_dir", LONG)),
        ("utils.report.gmad", (LONG, LONG)),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value).replace(LONG, "LONG"),
)
def test_a_name_that_is_too_long_is_one_line(
    name: str,
    options: tuple[str, ...],
    released: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("ARNIQA_WEIGHTS_DIR", str(released))
    assert run(name, *options, monkeypatch=monkeypatch) == 2
    lines = capsys.readouterr().err.splitlines()
    assert sum(line.startswith("error: ") for line in lines) == 1
    assert lines[-1].startswith("error: ") and "xxx" in lines[-1]
