"""Fixtures of the contract's tests: data, and a training that nothing disturbed."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock

from tests.contract.runs import quick, training, write_data


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A working folder for the tests of a file; its checkpoints take 300 MB a run, so it is removed at the end."""
    folder = tmp_path_factory.mktemp("work")
    write_data(folder)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """A working folder with an experiment `alone`, made once for all test processes."""
    base = tmp_path_factory.getbasetemp()
    folder = (base if worker_id == "master" else base.parent) / "undisturbed"
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            made = base / "made"
            write_data(made)
            done = quick(made, "main.py", *training("alone"))
            assert done.code == 0, done.err
            made.rename(folder)
    return folder


@pytest.fixture(scope="module")
def alone(folder: Path, undisturbed: Path) -> str:
    """The experiment `alone`: trained and tested by one process that nothing disturbed."""
    shutil.copytree(undisturbed / "experiments", folder / "experiments", dirs_exist_ok=True)
    return "alone"
