"""Measures the time to score an image: a plain model, our model, and a lower bound from the matrix-product rate.

    python -m benchmarks.inference [--crop_size 224] [--repeats 7] [--images 8] [--device cuda] [--precision float16]

An image is one batch of ten crops, five at each scale. "plain" is the same network as torchvision builds it, in float32
and the default memory format (NCHW), under no_grad. "ours" is `ARNIQA.forward` under inference_mode, with the allocator
setting of the scripts. The setting cannot be undone, so "ours" is measured last. "ONNX Runtime" runs the export
(`python -m models.export --format onnx`) on as many threads, on the CPU in float32, if its packages are installed.
Times are medians. The weights are random because the time does not depend on them.
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

from benchmarks.machine import description, matmul_rate, seconds
from models.arniqa import ARNIQA
from models.errors import UserError
from models.export_graph import Run, check_packages, graph_file, onnx_runner
from models.regressor import EMBEDDING_DIM, Regressor
from models.resnet import ResNet
from utils.command import run_command
from utils.evaluation.inference import score_images
from utils.runtime.device import DTYPES, precision_context, resolve_device, tune_malloc

# Multiply-adds of ResNet-50's convolutions for one 224 x 224 image.
FORWARD_MACS_224 = 4.09e9
CROPS = 10

# Run in a new process. Prints the import time and the load time in seconds, and the peak memory in MB.
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


def exported_to_onnx(model: ARNIQA, device: torch.device, precision: str) -> Run | None:
    """Runs the model's export by ONNX Runtime. Where that cannot be compared, a line says why, and there is None."""
    try:
        check_packages("onnx")
    except UserError as error:
        print(f"ONNX Runtime is not measured: {error}")
        return None
    if device.type != "cpu" or precision != "float32":
        print("ONNX Runtime is not measured: it is compared on the CPU in float32 only")
        return None
    return onnx_runner(graph_file(model, "onnx"))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.inference", description=__doc__)
    parser.add_argument("--crop_size", type=int, default=224, help="side of the crops in pixels (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=7, help="number of timed calls (default: %(default)s)")
    parser.add_argument(
        "--images", type=int, default=8, help="number of images in the scored folder (default: %(default)s)"
    )
    parser.add_argument("--device", default="cpu", help="where to compute (default: %(default)s)")
    parser.add_argument("--precision", default="float32", choices=list(DTYPES), help="as in the script")
    options = parser.parse_args()
    device = resolve_device(options.device)
    print(f"{description(device)}, {options.precision}")

    torch.manual_seed(0)
    plain = ResNet(pretrained=False).eval()
    side = options.crop_size
    full, half = (torch.randn(5, 3, side, side, device=device) for _ in range(2))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        torch.save(plain.state_dict(), folder / "ARNIQA.pth")
        fitted = Regressor(torch.randn(EMBEDDING_DIM), torch.tensor(0.5), "kadid10k", (1.0, 5.0), "mos")
        fitted.save_released(folder / "regressor_kadid10k.pth")
        ours = ARNIQA("kadid10k", folder).to(device)
        plain.to(device)
        fresh = [sys.executable, "-W", "ignore", "-c", FRESH_PROCESS, name]
        imported, loaded, peak = map(float, subprocess.check_output(fresh, text=True).split())

        def run_plain() -> torch.Tensor:
            with torch.no_grad(), precision_context(options.precision, device):
                return torch.hstack(plain.features(torch.cat([full, half])).chunk(2))

        def run_ours(precision: str = options.precision) -> torch.Tensor:
            with torch.inference_mode(), precision_context(precision, device):
                return ours(full, half, return_embedding=True)[1]

        error = (run_plain() - run_ours()).abs().max().item()
        times = {"plain": seconds(run_plain, options.repeats, device)}
        run_onnx = exported_to_onnx(ours, device, options.precision)
        if run_onnx:
            times["ONNX Runtime"] = seconds(lambda: run_onnx(full, half), options.repeats)
        tune_malloc()
        times["ours"] = seconds(run_ours, options.repeats, device)
        in_bfloat16 = seconds(lambda: run_ours("bfloat16"), options.repeats, device)
        moved = (run_ours() - run_ours("bfloat16")).norm(dim=1).max().item()
        floor = CROPS * FORWARD_MACS_224 * (side / 224) ** 2 / matmul_rate(device, options.precision)

        pixels = np.random.default_rng(0).integers(0, 256, (384, 512, 3), dtype=np.uint8)
        files = [folder / f"{number}.png" for number in range(options.images)]
        for file in files:
            Image.fromarray(pixels).save(file)
        start = time.perf_counter()
        ours.crop_size = side
        scored = len(list(score_images(ours, files)))
        rate = scored / (time.perf_counter() - start)

    print(f"import {imported:.2f} s, load {loaded:.2f} s, peak memory when scoring one image {peak:.0f} MB")
    print(f"folder of 512 x 384 images: {rate:.2f} images/s")
    print(f"largest difference between the features: {error:.1e}")
    print(
        f"bfloat16 (--precision): {in_bfloat16 / times['ours']:.2f} of our time, "
        f"error of the features (two vectors of length 1) {moved:.4f}"
    )
    print(f"lower bound from matrix products: {floor:.3g} s per image")
    for name, median in times.items():
        print(f"{name}: {median:.3g} s per image, {median / floor:.2f} times the lower bound")
    print(", ".join(f"ours / {name}: {times['ours'] / median:.2f}" for name, median in times.items() if name != "ours"))


if __name__ == "__main__":
    run_command(main)
