"""Measures the time of a training step: a plain step, our step, and a lower bound from the matrix-product rate.

    python -m benchmarks.training [--batch_size 16] [--patch_size 224] [--repeats 2] [--compile]

A step is forward, loss, backward and update on 4 x batch_size crops. "plain" is the float32 model in the default memory
format (NCHW) with an unfused optimizer. "ours" is the step of train.py with the allocator setting of main.py. The
setting cannot be undone, so "ours" is measured second. Times are medians.
"""

import argparse
import copy

import torch
from torch import nn

from benchmarks.machine import description, matmul_rate, seconds
from models.simclr import SimCLR
from train import training_step
from utils.errors import run_command
from utils.runtime.allocator import keep_freed_memory

# Multiply-adds of ResNet-50's convolutions for one 224 x 224 image. A step costs three times as much: the forward pass,
# the gradients of the inputs and the gradients of the weights.
FORWARD_MACS_224 = 4.09e9
PASSES = 3


def plain_step(model: nn.Module, optimizer: torch.optim.Optimizer, a: torch.Tensor, b: torch.Tensor) -> None:
    optimizer.zero_grad()
    model(a, b).backward()
    optimizer.step()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training", description=__doc__)
    parser.add_argument("--batch_size", type=int, default=16, help="batch size in images (default: %(default)s)")
    parser.add_argument(
        "--patch_size", type=int, default=224, help="side of the crops in pixels (default: %(default)s)"
    )
    parser.add_argument("--repeats", type=int, default=2, help="timed steps per variant (default: %(default)s)")
    parser.add_argument("--compile", action="store_true", help="also time our step with torch.compile")
    options = parser.parse_args()
    print(description())

    torch.manual_seed(0)
    device = torch.device("cpu")
    plain = SimCLR({"embedding_dim": 128, "pretrained": False, "use_norm": True}, 0.1)
    ours = copy.deepcopy(plain).to(memory_format=torch.channels_last)
    a, b = (torch.randn(2 * options.batch_size, 3, options.patch_size, options.patch_size) for _ in "ab")
    plain_optimizer = torch.optim.SGD(plain.parameters(), lr=1e-3, momentum=0.9, weight_decay=1e-4)
    optimizer = torch.optim.SGD(ours.parameters(), lr=1e-3, momentum=0.9, weight_decay=1e-4, fused=True)
    scaler = torch.amp.GradScaler(device.type, enabled=False)

    floor = PASSES * 4 * options.batch_size * FORWARD_MACS_224 * (options.patch_size / 224) ** 2 / matmul_rate()
    times = {"plain": seconds(lambda: plain_step(plain, plain_optimizer, a, b), options.repeats)}
    keep_freed_memory()
    times["ours"] = seconds(lambda: training_step(ours, optimizer, scaler, a, b, device), options.repeats)
    if options.compile:
        compiled = copy.deepcopy(ours)
        compiled.compile()
        times["ours, compiled"] = seconds(
            lambda: training_step(compiled, optimizer, scaler, a, b, device), options.repeats
        )
    times["matrix-product bound"] = floor
    for name, time in times.items():
        print(f"{name:22s} {time:7.2f} s per step, {time / times['plain']:.2f} x plain, {time / floor:.2f} x the bound")
    print(f"ours / plain: {times['ours'] / times['plain']:.2f}")


if __name__ == "__main__":
    run_command(main)
