"""utils.runtime.precision: what a matrix product in the context gives."""

from typing import Any

import pytest
import torch
from torch import Tensor

from models.errors import UserError
from train import training_step
from utils.runtime.precision import arithmetic, check_precision

CPU = torch.device("cpu")
ACCELERATOR = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def product(precision: str, device: torch.device) -> tuple[torch.dtype, float]:
    """The type of a matrix product under that precision, and its largest error against float64."""
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(256, 256, generator=generator) for _ in range(2))
    with arithmetic(precision, device):
        found: Tensor = a.to(device) @ b.to(device)
    return found.dtype, (found.cpu().double() - a.double() @ b.double()).abs().max().item()


@pytest.mark.parametrize(("precision", "dtype"), [("float32", torch.float32), ("bfloat16", torch.bfloat16)])
def test_precision_on_the_cpu(precision: str, dtype: torch.dtype) -> None:
    assert product(precision, CPU)[0] == dtype


@pytest.mark.skipif(not torch.cuda.is_available(), reason="NO CUDA DEVICE: the precisions of a GPU are not tested")
def test_tf32_is_off_unless_it_is_asked_for() -> None:
    errors = {name: product(name, ACCELERATOR)[1] for name in ("float32", "tf32", "float16")}
    assert errors["float32"] < 1e-4 < 3e-3 < errors["tf32"] < errors["float16"]


class Probe(torch.autograd.Function):
    """Notes whether TF32 is on in the forward and in the backward pass."""

    seen: list[tuple[bool, bool]] = []

    @staticmethod
    def note() -> None:
        Probe.seen.append((torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32))

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        Probe.note()
        return x.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        Probe.note()
        return gradient


class Probed(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(()))

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return Probe.apply(self.weight * (a + b)).sum()


def test_a_training_step_in_float32_has_no_tf32_in_either_pass() -> None:
    """The backward pass had it."""
    Probe.seen.clear()
    model, view = Probed(), torch.ones(2, 3, 4, 4)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    training_step(model, optimizer, torch.amp.GradScaler("cpu", enabled=False), view, view, "float32")
    assert Probe.seen == [(False, False), (False, False)]


def test_the_settings_are_restored_and_float32_turns_tf32_off() -> None:
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    for precision, expected in (("float32", False), ("tf32", True)):
        with arithmetic(precision, CPU):
            assert torch.backends.cudnn.allow_tf32 is torch.backends.cuda.matmul.allow_tf32 is expected
    assert (torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32) == before


@pytest.mark.parametrize("precision", ["tf32", "float16"])
def test_a_precision_that_the_device_lacks_is_an_error(precision: str) -> None:
    with pytest.raises(UserError, match=f"^test.precision: found {precision}, but on cpu only float32, bfloat16 can"):
        check_precision("test.precision", precision, CPU)
    check_precision("test.precision", precision, torch.device("cuda"))
