"""Measures the time of a training step: a plain step, our step, and a lower bound from the matrix-product rate.

    python -m benchmarks.training [--batch_size 16] [--patch_size 224] [--repeats 2] [--compile]
                                  [--device cuda] [--precision float16]

A step is forward, loss, backward and update on 4 x batch_size crops. "plain" is the model in the default memory format
(NCHW) with an unfused optimizer, at the same precision. "ours" is the step of train.py with the malloc setting of
main.py, which cannot be undone. All begin with the crops in the loader's memory. Times are medians.
"""

import argparse
from collections.abc import Callable

import torch

from benchmarks.machine import description, matmul_rate, seconds
from models.simclr import SimCLR
from train import training_precision, training_step
from utils.command import run_command
from utils.runtime.device import autocast, choose_algorithms, resolve_device, tf32_allowed, tune_malloc
from utils.runtime.transfer import Transfer

# Multiply-adds of ResNet-50's convolutions for one 224 x 224 image. A step costs three times as much: the forward pass,
# the gradients of the inputs and the gradients of the weights.
FORWARD_MACS_224 = 4.09e9
PASSES = 3
ENCODER = {"embedding_dim": 128, "pretrained": False, "use_norm": True}


def random_views(batch_size: int, patch_size: int, device: torch.device) -> list[torch.Tensor]:
    """Two views of a batch as they come from the loader, of noise."""
    views = [torch.randn(2 * batch_size, 3, patch_size, patch_size) for _ in "ab"]
    return [view.pin_memory() for view in views] if device.type == "cuda" else views


def our_step(
    views: list[torch.Tensor], device: torch.device, precision: str, compile: bool = False
) -> Callable[[], object]:
    """The training step of train.py on a new model, from the loader's views to the update."""
    model = SimCLR(ENCODER, 0.1).to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    if compile:
        model.compile()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9, weight_decay=1e-4, fused=True)
    scaler = torch.amp.GradScaler(device.type, enabled=precision == "float16")
    transfer = Transfer(device)

    def step() -> None:
        view_a, view_b = transfer(views)
        training_step(model, optimizer, scaler, view_a, view_b, precision)

    return step


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training", description=__doc__)
    parser.add_argument("--batch_size", type=int, default=16, help="batch size in images (default: %(default)s)")
    parser.add_argument(
        "--patch_size", type=int, default=224, help="side of the crops in pixels (default: %(default)s)"
    )
    parser.add_argument("--repeats", type=int, default=2, help="timed steps per variant (default: %(default)s)")
    parser.add_argument("--compile", action="store_true", help="also time our step with torch.compile")
    parser.add_argument("--device", default="cpu", help="where to compute (default: %(default)s)")
    parser.add_argument("--precision", default="auto", help="as training.precision (default: %(default)s)")
    options = parser.parse_args()
    device = resolve_device(options.device)
    precision = training_precision(options.precision, device)
    choose_algorithms(deterministic=False)
    print(f"{description(device)}, {precision}")

    torch.manual_seed(0)
    plain = SimCLR(ENCODER, 0.1).to(device)
    views = random_views(options.batch_size, options.patch_size, device)
    optimizer = torch.optim.SGD(plain.parameters(), lr=1e-3, momentum=0.9, weight_decay=1e-4)
    scaler = torch.amp.GradScaler(device.type, enabled=precision == "float16")

    def run_plain() -> None:
        with tf32_allowed(precision):
            with autocast(precision, device):
                loss = plain(*(view.to(device) for view in views))
            optimizer.zero_grad()
            scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()

    macs = PASSES * 4 * options.batch_size * FORWARD_MACS_224 * (options.patch_size / 224) ** 2
    floor = macs / matmul_rate(device, precision)
    times = {"plain": seconds(run_plain, options.repeats, device)}
    times["ours, malloc as it is"] = seconds(our_step(views, device, precision), options.repeats, device)
    tune_malloc()
    times["ours"] = seconds(our_step(views, device, precision), options.repeats, device)
    if options.compile:
        times["ours, compiled"] = seconds(our_step(views, device, precision, compile=True), options.repeats, device)
    times["matrix-product bound"] = floor
    for name, time in times.items():
        print(f"{name:22s} {time:7.3g} s per step, {time / times['plain']:.2f} x plain, {time / floor:.2f} x the bound")
    print(f"ours / plain: {times['ours'] / times['plain']:.2f}")


if __name__ == "__main__":
    run_command(main)
