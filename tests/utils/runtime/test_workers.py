import multiprocessing
import os
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from tests import processes
from utils.runtime.workers import WorkerDied, batches, ignore_signals, worker_count

ROOT = Path(__file__).parents[3]
LITTLE_SHARED_MEMORY = ["unshare", "-rm", "sh", "-c", 'mount -t tmpfs -o size=8m tmpfs /dev/shm && exec "$@"', "-"]

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

# The worker sends both signals to the whole process group before it has got as far as `worker_init_fn`.
STOPPED_EARLY = """
import os
import signal
from torch.utils.data import DataLoader, Dataset
from utils.runtime.workers import batches, ignore_signals

if __name__ == "__mp_main__":
    os.killpg(0, signal.SIGINT)
    os.killpg(0, signal.SIGTERM)

class Own(Dataset):
    def __len__(self):
        return 1
    def __getitem__(self, index):
        return 7

if __name__ == "__main__":
    received = set()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: received.add(number))
    options = {{"num_workers": 1, "worker_init_fn": ignore_signals, "multiprocessing_context": "{method}"}}
    print([batch.tolist() for batch in batches(DataLoader(Own(), **options))], sorted(received))
"""

SCORING = """
import sys
from pathlib import Path
from utils.evaluation.inference import score_images

class Model:
    crop_size, shorter_side = 224, None
    def score_crops(self, full, half, reference):
        return full.float().mean((1, 2, 3, 4))
    def rank(self, score):
        return None

for score in score_images(Model(), [Path(sys.argv[1]) / "0.png"] * 8, num_workers=1):
    print(score.value)
"""

TRAINING = """
import sys
from data.kadis700 import KADIS700Dataset
from data.training_loader import TrainingBatchSampler
from data.training_loader import training_loader
from utils.runtime.workers import batches

dataset = KADIS700Dataset(sys.argv[1], images_folder=".", patch_size=512)
for batch in batches(training_loader(dataset, TrainingBatchSampler(4, 2, seed=1), 1, pin_memory=False)):
    print(batch["img_A_name"])
"""


def run(command: list[str], limit: float = processes.LIMIT) -> CompletedProcess:
    return processes.run(command, limit, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)})


def test_a_program_exits_cleanly_with_a_partly_read_loader() -> None:
    for persistent in (False, True):
        script = LEFT_IN_THE_MIDDLE.format(persistent=persistent)
        ended = run([sys.executable, "-W", "ignore", "-c", script])  # PyTorch warns if there is only one core
        assert (ended.returncode, ended.stdout, ended.stderr) == (0, "[0, 1]\n", "")


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_a_worker_does_not_import_the_main_script(tmp_path: Path, method: str) -> None:
    """So the script needs no `if __name__ == "__main__"` either."""
    script = tmp_path / "script.py"
    script.write_text(IMPORTING_MUCH.format(method=method))
    (tmp_path / "imported_by_the_script.py").write_text(
        f"import os, pathlib\npathlib.Path({str(tmp_path)!r}, f'{{os.getpid()}}.pid').touch()\n"
    )
    ended = run([sys.executable, str(script)])
    assert (ended.returncode, ended.stdout) == (0, f"[[0, 1], [2, 3]] {script}\n"), ended.stderr
    assert len(list(tmp_path.glob("*.pid"))) == 1


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_a_dataset_that_the_main_script_defines_can_be_loaded(tmp_path: Path, method: str) -> None:
    script = tmp_path / "script.py"
    script.write_text(OWN_DATASET.format(method=method))
    ended = run([sys.executable, str(script)])
    assert (ended.returncode, ended.stdout) == (0, "[[7]]\n"), ended.stderr


@pytest.mark.skipif(os.name == "nt", reason="Windows has no process groups")
@pytest.mark.parametrize("method", [method for method in multiprocessing.get_all_start_methods() if method != "fork"])
def test_a_stop_while_workers_start_is_left_to_the_main_process(tmp_path: Path, method: str) -> None:
    script = tmp_path / "script.py"
    script.write_text(STOPPED_EARLY.format(method=method))
    ended = run([sys.executable, str(script)])
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "[[7]] [2, 15]\n", "")


@pytest.mark.parametrize(
    ("cores", "processes", "wanted", "workers", "said"),
    [
        (8, 1, 20, 8, "num_workers: 20, but there are 8 CPU cores; using 8"),
        (8, 2, 20, 4, "num_workers: 20, but there are 8 CPU cores for 2 processes; using 4"),
        (1, 2, 3, 1, "num_workers: 3, but there are 1 CPU cores for 2 processes; using 1"),
    ],
)
def test_there_are_no_more_workers_than_cores(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    cores: int,
    processes: int,
    wanted: int,
    workers: int,
    said: str,
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)), raising=False)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(processes))
    worker_count.cache_clear()
    try:
        assert [worker_count(wanted), worker_count(wanted)] == [workers, workers]
        assert capsys.readouterr().err == f"{said}\n"  # once
        assert (worker_count(0), worker_count(1)) == (0, 1)
        assert capsys.readouterr() == ("", "")
    finally:
        worker_count.cache_clear()


class Failing(Dataset):
    """Its item cannot be loaded: `fail` is called."""

    def __init__(self, fail: Callable[[], None]) -> None:
        self.fail = fail

    def __len__(self) -> int:
        return 1

    def __getitem__(self, _: int) -> None:
        self.fail()


def bus_error() -> None:
    """What writing to a full /dev/shm ends in where its pages are not reserved before."""
    os.kill(os.getpid(), 7)


def killed() -> None:
    os.kill(os.getpid(), 9)


def wrong_shape() -> None:
    torch.zeros(2) @ torch.zeros(3)


def load_one(fail: Callable[[], None]) -> None:
    loader = DataLoader(Failing(fail), num_workers=1, worker_init_fn=ignore_signals)
    next(batches(loader))


@pytest.mark.skipif(sys.platform != "linux", reason="sends signals by their number on Linux")
def test_a_worker_without_shared_memory_is_told_from_one_that_was_killed() -> None:
    with pytest.raises(WorkerDied, match=r"shared memory.*--ipc=host.*--shm-size=8g.*num_workers"):
        load_one(bus_error)
    with pytest.raises(WorkerDied, match="died") as caught:
        load_one(killed)
    assert "shm" not in str(caught.value)


def test_a_programmers_mistake_in_a_worker_keeps_its_traceback() -> None:
    with pytest.raises(RuntimeError, match="in wrong_shape"):
        load_one(wrong_shape)


def can_mount() -> bool:
    return sys.platform == "linux" and run([*LITTLE_SHARED_MEMORY, "true"]).returncode == 0


@pytest.mark.skipif(not can_mount(), reason="needs Linux and the right to mount in a namespace of its own")
@pytest.mark.parametrize("script", [SCORING, TRAINING], ids=["scoring", "training"])
def test_too_little_shared_memory_gives_a_line_and_not_a_wait_for_ever(tmp_path: Path, script: str) -> None:
    for number in range(4):
        Image.new("RGB", (600, 600)).save(tmp_path / f"{number}.png")
    command = [sys.executable, "-W", "ignore", "-c", script, str(tmp_path)]
    assert run(command).returncode == 0
    ended = run([*LITTLE_SHARED_MEMORY, *command], limit=120)
    last = ended.stderr.splitlines()[-1]
    assert last.startswith("utils.runtime.workers.WorkerDied: ") and "--shm-size=8g" in last, ended.stderr
