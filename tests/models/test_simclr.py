import math
import os
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from models.simclr import SimCLR, gather_ranks, nt_xent_loss
from tests.golden import golden
from tests.processes import on_two_ranks, one_at_a_time


def naive_loss(a: torch.Tensor, b: torch.Tensor, tau: float) -> torch.Tensor:
    """The loss formula, computed term by term."""
    z = torch.cat([a, b])
    m = len(a)
    terms = []
    for i in range(2 * m):
        similarity = torch.stack([torch.cosine_similarity(z[i], z[j], dim=0) / tau for j in range(2 * m)])
        others = [j for j in range(2 * m) if j != i]
        terms.append(torch.logsumexp(similarity[others], 0) - similarity[(i + m) % (2 * m)])
    return torch.stack(terms).mean()


@pytest.mark.parametrize("case", range(3))
def test_loss_and_gradients_match_the_published_code(case: int) -> None:
    data = golden("nt_xent.npz")
    a, b = (torch.tensor(data[f"{case}/{name}"], requires_grad=True) for name in "ab")
    loss = nt_xent_loss(a, b, float(data[f"{case}/tau"]))
    loss.backward()
    assert loss.item() == pytest.approx(float(data[f"{case}/loss"]), rel=1e-5)
    for name, tensor in (("a", a), ("b", b)):
        expected = torch.tensor(data[f"{case}/grad_{name}"])
        # In case 0, the published float32 gradient has a relative error of 2.4e-5 to the float64 gradient.
        tolerance = (3e-5 if case == 0 else 1e-5) * expected.abs().max().item()
        torch.testing.assert_close(tensor.grad, expected, rtol=0, atol=max(tolerance, 1e-7))


def test_loss_equals_the_formula() -> None:
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(6, 10, generator=generator), torch.randn(6, 10, generator=generator)
    assert nt_xent_loss(a, b, 0.2).item() == pytest.approx(naive_loss(a.double(), b.double(), 0.2).item(), rel=1e-6)


@pytest.mark.parametrize("n", [2, 16])
def test_a_collapsed_encoder_gives_ln_of_4n_minus_1(n: int) -> None:
    same = torch.ones(2 * n, 8)
    assert nt_xent_loss(same, same, 0.1).item() == pytest.approx(math.log(4 * n - 1), rel=1e-6)


def test_loss_is_stable_at_a_small_temperature_and_under_autocast() -> None:
    a = torch.nn.functional.normalize(torch.randn(8, 16, generator=torch.Generator().manual_seed(1)), dim=1)
    expected = naive_loss(a.double(), -a.double(), 0.001)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = nt_xent_loss(a, -a, 0.001)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)


def test_views_of_different_shape_raise_an_error() -> None:
    with pytest.raises(ValueError, match="same shape"):
        nt_xent_loss(torch.zeros(4, 8), torch.zeros(3, 8), 0.1)


def test_the_model_returns_the_loss_of_its_projections() -> None:
    torch.manual_seed(0)
    model = SimCLR({"embedding_dim": 16, "pretrained": False, "use_norm": True}, 0.1)
    x = torch.randn(4, 3, 32, 32)
    _, g = model.encoder(x)
    assert model(x, x).item() == pytest.approx(naive_loss(g, g, 0.1).item(), rel=1e-4)


def _rank(rank: int, store: str, results: str) -> None:
    os.environ.update(RANK=str(rank), WORLD_SIZE="2")
    dist.init_process_group("gloo", init_method=Path(store).as_uri(), rank=rank, world_size=2)
    data = torch.load(f"{results}/input.pth")
    weight = data["weight"].clone().requires_grad_()
    half = slice(rank * 3, rank * 3 + 3)
    a, b = (data[name][half] @ weight for name in "ab")
    loss = nt_xent_loss(gather_ranks(a), gather_ranks(b), 0.1)
    loss.backward()
    dist.all_reduce(weight.grad)  # like DistributedDataParallel: the mean over ranks
    torch.save({"loss": loss.detach(), "grad": weight.grad / 2}, f"{results}/{rank}.pth")
    dist.destroy_process_group()


@one_at_a_time
def test_two_processes_give_the_loss_and_gradients_of_one(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(2)
    data = {n: torch.randn(6, 10, generator=generator) for n in "ab"}
    data["weight"] = torch.randn(10, 8, generator=generator)
    torch.save(data, tmp_path / "input.pth")
    on_two_ranks(_rank, str(tmp_path / "store"), str(tmp_path))

    weight = data["weight"].clone().requires_grad_()
    loss = nt_xent_loss(data["a"] @ weight, data["b"] @ weight, 0.1)
    loss.backward()
    for rank in range(2):
        result = torch.load(tmp_path / f"{rank}.pth")
        torch.testing.assert_close(result["loss"], loss.detach(), rtol=1e-5, atol=0)
        torch.testing.assert_close(result["grad"], weight.grad, rtol=1e-5, atol=1e-6)
