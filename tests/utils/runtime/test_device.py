import os

import pytest
import torch

from models.errors import UserError
from utils.runtime.device import choose_algorithms, resolve_device, with_float64


def accelerators(monkeypatch: pytest.MonkeyPatch, kind: str | None, count: int) -> None:
    """Makes PyTorch report `count` devices of type `kind`."""
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: kind is not None)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: kind and torch.device(kind))
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: count)


@pytest.mark.parametrize("value", [0, 3, "cuda", "cuda:1", "mps"])
def test_no_gpu(monkeypatch: pytest.MonkeyPatch, value: int | str) -> None:
    accelerators(monkeypatch, None, 0)
    with pytest.raises(UserError, match=f"device: found {value!r}, .*--device cpu"):
        resolve_device(value)
    assert resolve_device(-1) == resolve_device("cpu") == torch.device("cpu")
    assert resolve_device("auto") == torch.device("cpu")


def test_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    accelerators(monkeypatch, "cuda", 2)
    assert resolve_device(1) == resolve_device("cuda:1") == torch.device("cuda", 1)
    assert resolve_device("cuda") == resolve_device("auto") == torch.device("cuda")
    assert resolve_device("cpu") == torch.device("cpu")
    for value in (2, "cuda:2", "mps"):
        with pytest.raises(UserError, match=f"device: found {value!r}, .*the number 0 to 1, or cpu"):
            resolve_device(value)


def test_mps(monkeypatch: pytest.MonkeyPatch) -> None:
    accelerators(monkeypatch, "mps", 1)
    assert resolve_device(0) == torch.device("mps", 0)
    assert resolve_device("mps") == torch.device("mps")
    with pytest.raises(UserError, match="sees only mps here"):
        resolve_device("cuda")


def test_the_chosen_device_is_printed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    accelerators(monkeypatch, "mps", 1)
    resolve_device("auto")
    assert capsys.readouterr().err == "device: mps (auto)\n"


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
