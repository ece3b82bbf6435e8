import pytest
import torch

from utils.config.keys import OptimizerSection
from utils.optimization import build_optimizer


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW"])
def test_the_optimizer_has_the_values_of_the_configuration(name: str) -> None:
    settings = OptimizerSection(name=name, momentum=0.5, weight_decay=0.01, betas=[0.8, 0.9], eps=1e-5)  # type: ignore
    optimizer = build_optimizer(torch.nn.Linear(2, 1), lr=0.3, **vars(settings))
    assert type(optimizer).__name__ == name
    group = optimizer.param_groups[0]
    assert (group["lr"], group["weight_decay"], len(group["params"])) == (0.3, 0.01, 2)
    if name == "SGD":
        assert group["momentum"] == 0.5
    else:
        assert (tuple(group["betas"]), group["eps"]) == ((0.8, 0.9), 1e-5)


def test_a_first_step_that_the_gradient_scaler_skips_leaves_no_trace() -> None:
    """The momentum was what happened to be in memory."""
    weights = []
    for skipped in ([[float("inf"), 1.0]], []):
        model = torch.nn.Linear(2, 1, bias=False)
        torch.nn.init.ones_(model.weight)
        settings = OptimizerSection(name="SGD", momentum=0.9, weight_decay=0.0)
        optimizer = build_optimizer(model, lr=0.1, **vars(settings))
        scaler = torch.amp.GradScaler("cpu")
        for x in [*skipped, [1.0, 2.0], [1.0, 2.0]]:
            del [torch.full((1, 2), 1e30) for _ in range(1000)][:]  # what happens to be in memory
            optimizer.zero_grad()
            scaler.scale(model(torch.tensor(x)).sum()).backward()
            scaler.step(optimizer)
            scaler.update()
        weights.append(model.weight.detach())
    torch.testing.assert_close(weights[0], weights[1], rtol=0, atol=0)
    # plain steps with the gradient g = (1, 2): w - lr g, then w - lr (0.9 g + g)
    torch.testing.assert_close(weights[0], 1 - 0.1 * (1 + 1.9) * torch.tensor([[1.0, 2.0]]))
