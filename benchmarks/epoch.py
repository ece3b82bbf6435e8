"""Works out from measured times how long an epoch of KADIS700 takes, and what holds it up.

    python -m benchmarks.epoch [--images FOLDER ...] [--samples 100] [--device cuda] [--precision float16]

Measured: the CPU time of a training sample on one core, for each folder of photos, and our training step of 16 samples
on the device. Worked out: the cores that keep a device busy (steps per second x samples per step x time of a sample),
and an epoch's time with 16 cores for the data. It assumes that cores and devices do not slow each other down.
"""

import argparse
from pathlib import Path

import numpy as np
import torch

from benchmarks.degradation import PATCH, PRISTINE, QUICKSTART, cpu_seconds, typical_positions
from benchmarks.machine import description, seconds
from benchmarks.training import our_step, random_views
from data.kadis700 import KADIS700Dataset
from train import training_precision
from utils.command import run_command
from utils.runtime.device import choose_algorithms, resolve_device, tune_malloc

KADIS700 = 140_000  # images
BATCH = 16
CORES = 16
AIM = 520  # samples per second: ten epochs in 45 minutes


def sample_seconds(dataset: KADIS700Dataset, count: int) -> float:
    """Mean CPU time of a sample, with one thread as in a data-loading worker."""
    torch.set_num_threads(1)
    positions = typical_positions(dataset, count)
    return float(np.mean([cpu_seconds(lambda p=position: dataset[p]) for position in positions]))  # type: ignore[misc]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.epoch", description=__doc__)
    parser.add_argument("--images", type=Path, nargs="+", default=PRISTINE or QUICKSTART, metavar="FOLDER")
    parser.add_argument("--samples", type=int, default=100, help="samples to time per folder (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=2, help="timed steps (default: %(default)s)")
    parser.add_argument("--device", default="cpu", help="where to compute (default: %(default)s)")
    parser.add_argument("--precision", default="auto", help="as training.precision (default: %(default)s)")
    options = parser.parse_args()
    device = resolve_device(options.device)
    precision = training_precision(options.precision, device)
    choose_algorithms(deterministic=False)
    tune_malloc()
    print(f"{description(device)}, {precision}")
    rate = BATCH / seconds(our_step(random_views(BATCH, PATCH, device), device, precision), options.repeats, device)
    print(f"a step of {BATCH} samples: {BATCH / rate:.3g} s, {rate:.1f} samples per second")
    epoch = KADIS700 / rate / 60
    for folder in options.images:
        dataset = KADIS700Dataset(folder, patch_size=PATCH, images_folder=".")
        sample = sample_seconds(dataset, options.samples)
        loading = KADIS700 * sample / CORES / 60
        print(f"{dataset.folder.name}: a sample takes {1000 * sample:.1f} ms of one core")
        print(f"  {rate * sample:.2f} cores keep one such device busy, {8 * rate * sample:.2f} keep eight busy")
        print(f"  {AIM * sample:.1f} cores make {AIM} samples per second")
        slower = "the data" if loading > epoch else f"the {device.type} device"
        print(
            f"an epoch of {KADIS700:,} samples of {dataset.folder.name}: {loading:.1f} min for {CORES} cores to make "
            f"them, {epoch:.1f} min for one device to train on them; {slower} holds it up"
        )


if __name__ == "__main__":
    run_command(main)
