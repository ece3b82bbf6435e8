"""Measures the time of a training step: a plain step, our step, and a lower bound from the matrix-product rate.

    python -m benchmarks.training [--batch_size 16] [--patch_size 224] [--repeats 2] [--compile]
                                  [--device cuda] [--precision float16]

A step is forward, loss, backward and update on 4 x batch_size crops. "plain" is the model in the default memory format
(NCHW) with an unfused optimizer, at the same precision. "ours" is the step of train.py with the malloc setting of
main.py. The setting cannot be undone. All start with the crops in the loader's memory. Times are medians.
"""

from collections.abc import Callable
from typing import Any

import torch

from benchmarks.harness import forward_bound, network_parser, print_times, seconds, start
from models.simclr import SimCLR
from train import training_step
from utils.command import run_command
from utils.runtime.device import autocast, choose_algorithms, tf32_allowed, tune_malloc
from utils.runtime.transfer import Transfer

PASSES = 3  # forward, gradients of inputs, gradients of weights: each has the same number of multiply-adds
ENCODER = {"embedding_dim": 128, "pretrained": False, "use_norm": True}
SGD: dict[str, Any] = {"lr": 1e-3, "momentum": 0.9, "weight_decay": 1e-4}


def plain_step(views: list[torch.Tensor], device: torch.device, precision: str) -> Callable[[], object]:
    """Returns the training step of a plain PyTorch loop."""
    model = SimCLR(ENCODER, 0.1).to(device)
    optimizer = torch.optim.SGD(model.parameters(), **SGD)
    scaler = torch.amp.GradScaler(device.type, enabled=precision == "float16")

    def step() -> None:
        with tf32_allowed(precision):
            with autocast(precision, device):
                loss = model(*(view.to(device) for view in views))
            optimizer.zero_grad()
            scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()

    return step


def our_step(
    views: list[torch.Tensor], device: torch.device, precision: str, compile: bool = False
) -> Callable[[], object]:
    """Returns the training step of train.py on a new model, from the loader's views to the update."""
    model = SimCLR(ENCODER, 0.1).to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    if compile:
        model.compile()
    optimizer = torch.optim.SGD(model.parameters(), fused=True, **SGD)
    scaler = torch.amp.GradScaler(device.type, enabled=precision == "float16")
    transfer = Transfer(device)

    def step() -> None:
        view_a, view_b = transfer(views)
        training_step(model, optimizer, scaler, view_a, view_b, precision)

    return step


def main() -> None:
    parser = network_parser("benchmarks.training", __doc__, repeats=2, precision="auto")
    parser.add_argument("--batch_size", type=int, default=16, help="batch size in images (default: %(default)s)")
    parser.add_argument(
        "--patch_size", type=int, default=224, help="side of the crops in pixels (default: %(default)s)"
    )
    parser.add_argument("--compile", action="store_true", help="also time our step with torch.compile")
    options = start(parser)
    device, precision, batch_size, side = options.device, options.precision, options.batch_size, options.patch_size
    choose_algorithms(deterministic=False)
    views = [torch.randn(2 * batch_size, 3, side, side) for _ in "ab"]
    if device.type == "cuda":
        views = [view.pin_memory() for view in views]
    bound = PASSES * forward_bound(4 * batch_size, side, device, precision)

    times = {"plain": seconds(plain_step(views, device, precision), options.repeats, device)}
    times["ours, malloc as it is"] = seconds(our_step(views, device, precision), options.repeats, device)
    tune_malloc()
    times["ours"] = seconds(our_step(views, device, precision), options.repeats, device)
    if options.compile:
        times["ours, compiled"] = seconds(our_step(views, device, precision, compile=True), options.repeats, device)
    print(f"ours: {batch_size / times['ours']:.1f} samples per second")
    print_times(times, "step", bound)


if __name__ == "__main__":
    run_command(main)
