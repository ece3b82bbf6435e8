import multiprocessing
import os
import sys
from pathlib import Path
from subprocess import CompletedProcess

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from tests import processes
from utils.runtime.workers import WorkerDied, batches, ignore_signals, worker_count

ROOT = Path(__file__).parents[3]

LEFT_IN_THE_MIDDLE = """
import torch
from torch.utils.data import DataLoader, TensorDataset
from utils.runtime.workers import batches, ignore_signals

data = TensorDataset(torch.arange(100))
loader = DataLoader(data, 2, num_workers=2, worker_init_fn=ignore_signals, persistent_workers={persistent})
left = batches(loader)
print(next(left)[0].tolist())
"""

IMPORTING_MUCH = """
import imported_by_the_script  # leaves the number of the process that imports it
import torch
from torch.utils.data import DataLoader, TensorDataset
from utils.runtime.workers import batches, ignore_signals

data = TensorDataset(torch.arange(4))
options = {{"num_workers": 1, "worker_init_fn": ignore_signals, "multiprocessing_context": "{method}"}}
print([batch[0].tolist() for batch in batches(DataLoader(data, 2, **options))], __file__)
"""

OWN_DATASET = """
from torch.utils.data import DataLoader, Dataset
from utils.runtime.workers import batches, ignore_signals

class Own(Dataset):
    def __len__(self):
        return 1
    def __getitem__(self, index):
        return 7

if __name__ == "__main__":
    options = {{"num_workers": 1, "worker_init_fn": ignore_signals, "multiprocessing_context": "{method}"}}
    print([batch.tolist() for batch in batches(DataLoader(Own(), **options))])
"""


def run(*command: str) -> CompletedProcess:
    return processes.run([sys.executable, *command], cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)})


def test_a_program_exits_cleanly_with_a_partly_read_loader() -> None:
    for persistent in (False, True):
        script = LEFT_IN_THE_MIDDLE.format(persistent=persistent)
        ended = run("-W", "ignore", "-c", script)  # PyTorch warns if there is only one core
        assert (ended.returncode, ended.stdout, ended.stderr) == (0, "[0, 1]\n", "")


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_a_worker_does_not_import_the_main_script(tmp_path: Path, method: str) -> None:
    """So the script needs no `if __name__ == "__main__"` either."""
    script = tmp_path / "script.py"
    script.write_text(IMPORTING_MUCH.format(method=method))
    (tmp_path / "imported_by_the_script.py").write_text(
        f"import os, pathlib\npathlib.Path({str(tmp_path)!r}, f'{{os.getpid()}}.pid').touch()\n"
    )
    ended = run(str(script))
    assert (ended.returncode, ended.stdout) == (0, f"[[0, 1], [2, 3]] {script}\n"), ended.stderr
    assert len(list(tmp_path.glob("*.pid"))) == 1


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_a_dataset_that_the_main_script_defines_can_be_loaded(tmp_path: Path, method: str) -> None:
    script = tmp_path / "script.py"
    script.write_text(OWN_DATASET.format(method=method))
    ended = run(str(script))
    assert (ended.returncode, ended.stdout) == (0, "[[7]]\n"), ended.stderr


@pytest.mark.parametrize(("ranks", "workers", "shared"), [(1, 8, ""), (2, 4, " for 2 processes")])
def test_there_are_no_more_workers_than_cores(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], ranks: int, workers: int, shared: str
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(ranks))
    worker_count.cache_clear()
    assert [worker_count(wanted) for wanted in (20, 20, 0, 1)] == [workers, workers, 0, 1]
    said = f"num_workers: 20, but there are 8 CPU cores{shared}; using {workers}\n"
    assert capsys.readouterr().err == said  # once
    worker_count.cache_clear()


class Failing(Dataset):
    """Its only item is a signal, which its worker sends to itself, or None for a programmer's mistake."""

    def __init__(self, number: int | None) -> None:
        self.number = number

    def __len__(self) -> int:
        return 1

    def __getitem__(self, _: int) -> None:
        if self.number is None:
            torch.zeros(2) @ torch.zeros(3)
        else:
            os.kill(os.getpid(), self.number)


@pytest.mark.skipif(sys.platform != "linux", reason="sends signals by their number on Linux")
@pytest.mark.parametrize(
    ("number", "error", "message"),
    [
        (7, WorkerDied, r"shared memory.*--ipc=host.*--shm-size=8g.*num_workers"),  # SIGBUS: /dev/shm is full
        (9, WorkerDied, "died"),
        (None, RuntimeError, "in __getitem__"),  # a mistake keeps its traceback
    ],
)
def test_how_a_worker_ended_is_told_apart(number: int | None, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message) as caught:
        next(batches(DataLoader(Failing(number), num_workers=1, worker_init_fn=ignore_signals)))
    assert ("--shm-size" in str(caught.value)) == (number == 7)
