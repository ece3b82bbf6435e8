"""Harness of the benchmarks: options, description of the machine, timing, lower bound, and the table of times."""

import argparse
import cProfile
import os
import platform
import pstats
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from train import training_precision
from utils.runtime.device import check_precision, precision_context, resolve_device

CPU = torch.device("cpu")
FORWARD_MACS_224 = 4.09e9  # multiply-adds of ResNet-50's convolutions for one 224 x 224 image
BASELINES = ("plain", "ONNX Runtime")


def benchmark_parser(module: str, description: str | None) -> argparse.ArgumentParser:
    """Returns the parser of a benchmark's options."""
    return argparse.ArgumentParser(
        prog=f"python -m {module}", description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )


def network_parser(module: str, description: str | None, repeats: int, precision: str) -> argparse.ArgumentParser:
    """Returns the parser of a network benchmark, with --device, --precision and --repeats."""
    parser = benchmark_parser(module, description)
    parser.add_argument("--device", default="cpu", help="compute device (default: %(default)s)")
    parser.add_argument(
        "--precision", default=precision, help="precision as in the configuration, or auto (default: %(default)s)"
    )
    parser.add_argument("--repeats", type=int, default=repeats, help="timed calls per variant (default: %(default)s)")
    return parser


def start(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Reads the options of a `network_parser`, prints the machine and seeds PyTorch.

    Returns:
        The options, with a torch.device in `device` and the resolved `precision`.

    Raises:
        UserError: the device does not exist, or does not support the precision.
    """
    options = parser.parse_args()
    options.device = resolve_device(options.device)
    if options.precision == "auto":
        options.precision = training_precision("auto", options.device)
    check_precision("--precision", options.precision, options.device)
    print(f"{machine(options.device)}, {options.precision}")
    torch.manual_seed(0)
    return options


def machine(device: torch.device = CPU) -> str:
    """Returns one line with the processor, system, number of threads, versions of Python and torch, and device."""
    processor = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line for line in cpuinfo.read_text(encoding="utf-8").splitlines() if line.startswith("model name")]
        processor = names[0].split(":", 1)[1].strip() if names else processor
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return (
        f"{processor}, {os.cpu_count()} cores, {platform.system()} {platform.machine()}, {torch.get_num_threads()} "
        f"threads, Python {platform.python_version()}, torch {torch.__version__}, {name}"
    )


def seconds(work: Callable[[], object], repeats: int, device: torch.device = CPU) -> float:
    """Returns the median time in seconds of `repeats` calls, after one warm-up call (two on an accelerator)."""

    def synchronize() -> None:
        if device.type != "cpu":
            torch.get_device_module(device).synchronize(device)

    for _ in range(1 if device.type == "cpu" else 2):
        work()
    times = []
    for _ in range(repeats):
        synchronize()
        begin = time.perf_counter()
        work()
        synchronize()
        times.append(time.perf_counter() - begin)
    return statistics.median(times)


def forward_bound(crops: int, side: int, device: torch.device, precision: str) -> float:
    """Returns a lower bound in seconds of the encoder's forward pass, from the rate of a large matrix product."""
    size = 2048 if device.type == "cpu" else 8192
    a, b = (torch.randn(size, size, device=device) for _ in "ab")
    with torch.no_grad(), precision_context(precision, device):
        rate = size**3 / seconds(lambda: a @ b, 5, device)
    return crops * FORWARD_MACS_224 * (side / 224) ** 2 / rate


def print_times(times: dict[str, float], unit: str, bound: float, more: Sequence[str] = ()) -> None:
    """Prints a table of times in seconds per `unit`, and as the last line the ratios of "ours" to the baselines.

    `more` are other results for the last line.
    """
    for name, value in {**times, "matrix-product bound": bound}.items():
        compared = f"{value / times['plain']:.2f} x plain, {value / bound:.2f} x the bound"
        print(f"{name:22s} {value:7.3g} s per {unit}, {compared}")
    ratios = [f"ours / {name}: {times['ours'] / times[name]:.2f}" for name in BASELINES if name in times]
    print(", ".join([*ratios, *more]))


def stage_shares(work: Callable[[], object]) -> dict[str, float]:
    """Returns the shares, 0 to 1, of the stages of scoring files in the time of `work`, from Python's profiler.

    "copy" is into a batch on the device, with the normalisation; "encode" includes the regressor.
    """
    profile = cProfile.Profile()
    profile.runcall(work)
    stats = pstats.Stats(profile)
    functions = stats.stats.items()  # type: ignore[attr-defined]
    spent = {f"{Path(file).stem}.{name}": numbers[3] for (file, _, name), numbers in functions}
    stages = {
        "read": spent["image_file.open_image"],
        "resize and crop": spent["preprocess.two_scale_crops"],
        "copy": spent["inference.collate_views"] + spent["arniqa.embed_crops"] - spent["arniqa.embed"],
        "encode": spent["inference._score_batch"] - spent["arniqa.embed_crops"] + spent["arniqa.embed"],
        "write": spent["score_file.add"],
    }
    total = stats.total_tt  # type: ignore[attr-defined]
    return {**{stage: seconds / total for stage, seconds in stages.items()}, "other": 1 - sum(stages.values()) / total}


def photo_files(folder: Path, count: int, width: int, height: int) -> list[Path]:
    """Writes `count` different JPEG files of noise at several scales. They are read about as fast as photos."""
    generator = np.random.default_rng(0)
    layers = [generator.integers(0, 256, (height // step, width // step, 3), np.uint8) for step in (1, 4, 16, 64)]
    resized = [np.array(Image.fromarray(layer).resize((width, height))) for layer in layers]
    pixels = np.average(resized, axis=0, weights=(1, 2, 4, 8)).astype(np.uint8)
    paths = [folder / f"{number}.jpg" for number in range(count)]
    for number, path in enumerate(paths):
        Image.fromarray(np.roll(pixels, 50 * number, axis=1)).save(path, quality=90)
    return paths
