"""utils.runtime.device: which device, which algorithms, and the precision of a product."""

import os

import pytest
import torch
from torch import Tensor

from models.errors import UserError
from train import training_step
from utils.runtime.device import check_precision, choose_algorithms, precision_context, resolve_device, with_float64

CPU = torch.device("cpu")
ACCELERATOR = torch.device("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize(
    ("kind", "count", "found", "refused", "seen"),
    [
        (None, 0, {-1: "cpu", "cpu": "cpu", "auto": "cpu"}, (0, "cuda:1", "mps"), "no GPU"),
        ("cuda", 2, {1: "cuda:1", "cuda": "cuda", "auto": "cuda"}, (2, "cuda:2", "mps"), "2 GPUs of type cuda"),
        ("mps", 1, {0: "mps:0", "mps": "mps", "auto": "mps"}, ("cuda",), "1 GPU of type mps"),
    ],
)
def test_the_device_is_one_that_is_there(
    monkeypatch: pytest.MonkeyPatch, kind: str | None, count: int, found: dict, refused: tuple, seen: str
) -> None:
    """PyTorch reports `count` devices of type `kind`."""
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: kind is not None)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: kind and torch.device(kind))
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: count)
    for value, device in found.items():
        assert resolve_device(value) == torch.device(device)
    for value in refused:
        with pytest.raises(UserError, match=f"device: found {value!r}, but PyTorch finds {seen}; use"):
            resolve_device(value)


def test_the_cpu_takes_the_place_of_a_device_without_float64() -> None:
    assert with_float64(torch.device("mps")) == torch.device("cpu")
    assert with_float64(torch.device("cuda:1")) == torch.device("cuda:1")


def test_algorithms_are_the_fastest_or_the_deterministic_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", "to be restored")
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG")
    before = torch.backends.cudnn.benchmark
    try:
        choose_algorithms(deterministic=True)
        assert torch.are_deterministic_algorithms_enabled() and not torch.backends.cudnn.benchmark
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
        choose_algorithms(deterministic=False)
        assert not torch.are_deterministic_algorithms_enabled() and torch.backends.cudnn.benchmark
    finally:
        torch.use_deterministic_algorithms(False)
        torch.backends.cudnn.benchmark = before


def product(precision: str, device: torch.device) -> tuple[torch.dtype, float]:
    """The type of a matrix product under that precision, and its largest error against float64."""
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(256, 256, generator=generator) for _ in range(2))
    with precision_context(precision, device):
        found: Tensor = a.to(device) @ b.to(device)
    return found.dtype, (found.cpu().double() - a.double() @ b.double()).abs().max().item()


@pytest.mark.parametrize(("precision", "dtype"), [("float32", torch.float32), ("bfloat16", torch.bfloat16)])
def test_precision_on_the_cpu(precision: str, dtype: torch.dtype) -> None:
    assert product(precision, CPU)[0] == dtype


@pytest.mark.skipif(not torch.cuda.is_available(), reason="NO CUDA DEVICE: the precisions of a GPU are not tested")
def test_tf32_is_off_unless_it_is_asked_for() -> None:
    errors = {name: product(name, ACCELERATOR)[1] for name in ("float32", "tf32", "float16")}
    assert errors["float32"] < 1e-4 < 3e-3 < errors["tf32"] < errors["float16"]


def test_a_training_step_in_float32_has_no_tf32_in_either_pass() -> None:
    """The backward pass had it."""
    seen = []

    def note(_: Tensor) -> None:
        seen.append((torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32))

    class Probed(torch.nn.Linear):
        def forward(self, a: Tensor, b: Tensor) -> Tensor:  # type: ignore[override]
            output = super().forward(a + b)
            note(output)
            output.register_hook(note)
            return output.sum()

    model, view = Probed(4, 1), torch.ones(2, 3, 4, 4)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    training_step(model, optimizer, torch.amp.GradScaler("cpu", enabled=False), view, view, "float32")
    assert seen == [(False, False), (False, False)]


def test_the_settings_are_restored_and_float32_turns_tf32_off() -> None:
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    for precision, expected in (("float32", False), ("tf32", True)):
        with precision_context(precision, CPU):
            assert torch.backends.cudnn.allow_tf32 is torch.backends.cuda.matmul.allow_tf32 is expected
    assert (torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32) == before


def test_a_precision_that_the_device_lacks_is_an_error() -> None:
    with pytest.raises(UserError, match=r"^test\.precision: found float16; allowed on cpu: float32, bfloat16"):
        check_precision("test.precision", "float16", CPU)
    check_precision("test.precision", "float16", torch.device("cuda"))
