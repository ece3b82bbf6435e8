"""Time of scoring: the plain model, ours, and the floor that the machine's matrix products set.

    python -m benchmarks.inference [--crop_size 224] [--repeats 7] [--images 8]

One image is ten crops, five at each scale, in one batch. Plain is the same network as torchvision builds it,
in float32 and PyTorch's default memory layout (NCHW), under no_grad; ours is `ARNIQA.forward` under
inference_mode, with the allocator's setting of the scripts, which is why it is timed second. Times are medians. Weights
are random: the time does not depend on them.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

from benchmarks.machine import description, matmul_rate, seconds
from models.arniqa import ARNIQA
from models.export import save_released_regressor
from models.resnet import ResNet
from models.weights import EMBEDDING_DIM
from utils.allocator import keep_freed_memory
from utils.inference import score_images

# Multiply-adds of ResNet-50's convolutions for one 224 x 224 image.
FORWARD_MACS_224 = 4.09e9
CROPS = 10

# A process of its own that prints its seconds of import, its seconds of load and its peak memory in MB.
FRESH_PROCESS = """
import resource, sys, time
start = time.perf_counter()
from models.arniqa import ARNIQA
imported = time.perf_counter()
model = ARNIQA("kadid10k", sys.argv[1])
loaded = time.perf_counter()
import torch
with torch.inference_mode():
    model(torch.zeros(5, 3, 224, 224), torch.zeros(5, 3, 224, 224))
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
print(imported - start, loaded - imported, peak)
"""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.inference", description=__doc__)
    parser.add_argument("--crop_size", type=int, default=224, help="side of the crops (%(default)s)")
    parser.add_argument("--repeats", type=int, default=7, help="timed turns (%(default)s)")
    parser.add_argument("--images", type=int, default=8, help="images of the folder (%(default)s)")
    options = parser.parse_args()
    print(description())

    torch.manual_seed(0)
    plain = ResNet(pretrained=False).eval()
    side = options.crop_size
    full, half = torch.randn(5, 3, side, side), torch.randn(5, 3, side, side)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        torch.save(plain.state_dict(), folder / "ARNIQA.pth")
        save_released_regressor(nn.Linear(EMBEDDING_DIM, 1), folder / "regressor_kadid10k.pth")
        ours = ARNIQA("kadid10k", folder)
        fresh = [sys.executable, "-W", "ignore", "-c", FRESH_PROCESS, name]
        imported, loaded, peak = map(float, subprocess.check_output(fresh, text=True).split())

        def run_plain() -> torch.Tensor:
            with torch.no_grad():
                return torch.hstack(plain.features(torch.cat([full, half])).chunk(2))

        def run_ours() -> torch.Tensor:
            with torch.inference_mode():
                return ours(full, half, return_embedding=True)[1]

        def run_bfloat16() -> torch.Tensor:
            with torch.autocast("cpu", dtype=torch.bfloat16):
                return run_ours().float()

        error = (run_plain() - run_ours()).abs().max().item()
        times = {"plain": seconds(run_plain, options.repeats)}
        keep_freed_memory()
        times["ours"] = seconds(run_ours, options.repeats)
        in_bfloat16 = seconds(run_bfloat16, options.repeats)
        half = (run_ours() - run_bfloat16()).norm(dim=1).max().item()
        floor = CROPS * FORWARD_MACS_224 * (side / 224) ** 2 / matmul_rate()

        pixels = np.random.default_rng(0).integers(0, 256, (384, 512, 3), dtype=np.uint8)
        files = [folder / f"{number}.png" for number in range(options.images)]
        for file in files:
            Image.fromarray(pixels).save(file)
        start = time.perf_counter()
        scored = len(list(score_images(ours, files, side)))
        rate = scored / (time.perf_counter() - start)

    print(f"import {imported:.2f} s, load {loaded:.2f} s, peak memory of one image's score {peak:.0f} MB")
    print(f"folder of 512 x 384 images: {rate:.2f} images/s")
    print(f"largest difference of the features: {error:.1e}")
    print(
        f"bfloat16, which is not used: {in_bfloat16 / times['ours']:.2f} of our time, "
        f"features (two of length 1) off by {half:.4f}"
    )
    print(f"matrix-product floor: {floor:.3f} s an image")
    for name, median in times.items():
        print(f"{name}: {median:.3f} s an image, {median / floor:.2f} times the floor")
    print(f"ours / plain: {times['ours'] / times['plain']:.2f}")


if __name__ == "__main__":
    main()
