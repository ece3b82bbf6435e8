import sys
from pathlib import Path

from tests.processes import run

LEFT_IN_THE_MIDDLE = """
import torch
from torch.utils.data import DataLoader, TensorDataset
from utils.runtime.workers import batches, leave_stopping_to_parent

data = TensorDataset(torch.arange(100))
loader = DataLoader(data, 2, num_workers=2, worker_init_fn=leave_stopping_to_parent, persistent_workers={persistent})
left = batches(loader)
print(next(left)[0].tolist())
"""


def test_a_program_exits_cleanly_with_a_partly_read_loader() -> None:
    for persistent in (False, True):
        script = LEFT_IN_THE_MIDDLE.format(persistent=persistent)
        root = Path(__file__).parents[3]
        command = [sys.executable, "-W", "ignore", "-c", script]  # PyTorch warns if there is only one core
        ended = run(command, cwd=root)
        assert (ended.returncode, ended.stdout, ended.stderr) == (0, "[0, 1]\n", "")
