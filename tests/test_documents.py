"""The commands of README.md and docs/: those that need neither network nor minutes run as pasted, in a plain shell."""

import os
import re
import shlex
import shutil
import sys
from pathlib import Path

import pytest

import single_image_inference
import test as test_script
from models import export
from tests.contract.runs import ROOT, needs_posix, write_data
from tests.processes import run
from utils.config.command_line import parse_command_line

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
# What is not run, and why.
NOT_RUN = {
    r"main\.py|test\.py|-m tests|torchrun|-m data\.quickstart": "takes minutes or needs the datasets",
    r"data\.splits published|git |pip install|benchmarks\.classical|--photos PHOTOS": "needs the network",
    r"--experiment_name|--weights_dir exported": "needs a trained experiment",
    r"-m models\.export": "tests/models/test_export.py runs it",
    r"sbatch|score_with_ray": "needs Slurm or Ray",
    r"^(export|for|done)\b|\$seed": "part of a loop",
}


def commands() -> list[str]:
    """Every command in the pages' shell blocks, without comments, continued lines as one."""
    found = []
    for page in PAGES:
        for block in re.findall(r"```sh\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
            lines = block.replace("\\\n", " ").splitlines()
            found += [line.strip().partition("  #")[0] for line in lines if not line.lstrip().startswith("#")]
    return list(dict.fromkeys(found))


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives a page's headings."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize(
    "page", [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "assets" / "README.md"], ids=lambda p: p.name
)
def test_links_lead_to_files_and_headings(page: Path) -> None:
    for target in re.findall(r"\]\((?!http)([^)]+)\)", page.read_text(encoding="utf-8")):
        file, _, anchor = target.partition("#")
        path = page.parent / file if file else page
        assert path.exists(), target
        assert not anchor or anchor in anchors(path), target


RUN = [command for command in commands() if not any(re.search(pattern, command) for pattern in NOT_RUN)]


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that looks like a new checkout, with photos, and with a dataset in sets/data."""
    folder = tmp_path_factory.mktemp("checkout")
    for path in ROOT.iterdir():
        if not path.name.startswith(".") and path.name != "experiments":
            (folder / path.name).symlink_to(path)
    (folder / "photos").mkdir()
    shutil.copy(ROOT / "assets" / "01.png", folder / "photos")
    write_data(folder / "sets")
    return folder


@needs_posix
@pytest.mark.parametrize("command", RUN)
def test_a_command_runs_as_pasted(command: str, checkout: Path, released: Path) -> None:
    if "install_requirements.sh" in command and sys.prefix == sys.base_prefix:
        pytest.skip("the installer would create an environment")
    if "data.splits make" in command:
        shutil.rmtree(checkout / "sets" / "data" / "KADID10K" / "splits")
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {"PATH": path, "HOME": os.environ["HOME"], "VIRTUAL_ENV": sys.prefix}
    environment["ARNIQA_WEIGHTS_DIR"] = str(released)
    ended = run(["bash", "-c", command.replace(" /data", " sets/data")], cwd=checkout, env=environment)
    assert ended.returncode == 0, ended.stderr


def test_enough_commands_run() -> None:
    assert len(RUN) >= 4, RUN


@pytest.mark.parametrize(
    "command",  # the example's packages are not installed with the project
    [command for command in commands() if re.search(r"\.py |models\.export", command) and "examples/" not in command],
)
def test_the_options_of_a_command_exist(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    for part in re.split(r"&&|;", command):
        words = shlex.split(part)
        script = next((i for i, word in enumerate(words) if word.endswith(".py") or word == "models.export"), None)
        if script is None:
            continue
        name, options = words[script], words[script + 1 :]
        options = [
            re.sub(r"^experiments/.*/config.yaml$", "config.yaml", word.replace("$seed", "27")) for word in options
        ]
        if name == "single_image_inference.py":
            single_image_inference.parse_arguments(options)
        elif name == "models.export":
            export.parse_arguments(options)
        else:
            add = test_script._add_arguments if name == "test.py" else None
            required = ["--experiment_name", "mine", "--data_base_path", "data"]
            parse_command_line("", add, [*required, *options])
