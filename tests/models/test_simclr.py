import pytest
import torch

from models.simclr import SimCLR, nt_xent_loss


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


def test_loss_equals_the_formula() -> None:
    generator = torch.Generator().manual_seed(0)
    a, b = torch.randn(6, 10, generator=generator), torch.randn(6, 10, generator=generator)
    assert nt_xent_loss(a, b, 0.2).item() == pytest.approx(naive_loss(a.double(), b.double(), 0.2).item(), rel=1e-6)


def test_loss_is_stable_at_a_small_temperature_and_under_autocast() -> None:
    a = torch.nn.functional.normalize(torch.randn(8, 16, generator=torch.Generator().manual_seed(1)), dim=1)
    expected = naive_loss(a.double(), -a.double(), 0.001)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = nt_xent_loss(a, -a, 0.001)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)


def test_the_model_returns_the_loss_of_its_projections() -> None:
    torch.manual_seed(0)
    model = SimCLR({"embedding_dim": 16, "pretrained": False, "use_norm": True}, 0.1)
    x = torch.randn(4, 3, 32, 32)
    _, g = model.encoder(x)
    assert model(x, x).item() == pytest.approx(naive_loss(g, g, 0.1).item(), rel=1e-4)
