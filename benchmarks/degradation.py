"""Measures the time of the degradation model: each type and level, and whole training samples.

    python -m benchmarks.degradation [--images FOLDER ...] [--samples 500] [--only TYPE_OR_GROUP ...]

Samples are timed for each folder of photos, with imagecodecs if it is installed and with Pillow alone. The time is the
CPU time of one thread, as in a data-loading worker. The unit of comparison between machines is a JPEG round trip of
noise. An epoch of KADIS700's 140,000 images and the number of cores for a fast GPU are computed from the mean sample.

JPEG 2000 takes more time than any other type. One in six samples has it, but in 500 samples this share varies by a
tenth (standard deviation). So the samples with and without it are weighted by their expected shares.
"""

import io
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from PIL import Image
from torch import Generator

from benchmarks.harness import benchmark_parser, machine, seconds
from data import fast_png
from data.fast_png import read_pixels
from data.kadis700 import KADIS700Dataset, half_scale_pixels_bicubic, random_crop
from models.errors import UserError
from models.image_file import open_image
from models.preprocess import half_scale_bicubic
from utils.command import run_command
from utils.distortions import DISTORTIONS, GROUPS, get_group
from utils.runtime.device import tune_malloc

PATCH = 224
SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"  # next to a development checkout
PRISTINE = [folder for folder in (SHARED / "pristine", SHARED / "pristine_png") if folder.is_dir()]  # JPEG and PNG
QUICKSTART = [Path("quickstart_data/KADIS700/ref_imgs")]
KADIS700 = 140_000  # images
CORES = 16
GPU_RATE = 520  # samples per second: ten epochs in 45 minutes


def main() -> None:
    parser = benchmark_parser("benchmarks.degradation", __doc__)
    parser.add_argument(
        "--images",
        type=Path,
        nargs="+",
        default=PRISTINE or QUICKSTART,
        metavar="FOLDER",
        help="folders of pristine photos (default: %(default)s)",
    )
    parser.add_argument("--samples", type=int, default=500, help="samples to time per folder (default: %(default)s)")
    parser.add_argument(
        "--only",
        nargs="+",
        choices=[*GROUPS, *DISTORTIONS],
        metavar="NAME",
        help="time only these types or groups, and no samples",
    )
    options = parser.parse_args()
    tune_malloc()  # same as in main.py
    torch.set_num_threads(1)
    print(machine())
    datasets = [KADIS700Dataset(folder, patch_size=PATCH, images_folder=".") for folder in options.images]
    time_types(datasets[0].images[0], options.only or GROUPS)
    if not options.only:
        print("mean sample / calibration: " + "; ".join(time_samples(each, options.samples) for each in datasets))


def time_types(photo: Path, names: Sequence[str]) -> None:
    """Prints the times of the distortion types with these names or in groups with these names."""
    image = random_crop(read_pixels(photo), PATCH, Generator().manual_seed(0))
    print(f"ms per {PATCH} x {PATCH} image, levels 1 to 5 (median of 7)")
    for distortion in DISTORTIONS.values():
        if distortion.name in names or distortion.group in names:
            times = [
                seconds(lambda d=distortion, v=level: d(image, v, Generator().manual_seed(0)), repeats=7)  # type: ignore[misc]
                for level in distortion.levels
            ]
            print(f"{distortion.name:18s}" + "".join(f"{1000 * each:8.2f}" for each in times))


def time_samples(dataset: KADIS700Dataset, count: int) -> str:
    """Prints the mean CPU time of a training sample with each choice of decoders, and the resulting time of an epoch.

    The calibration and all choices are measured for every sample, so that all have the same load.

    Returns:
        One line with the folder's name and, for each choice of decoders, the ratio of the mean to the calibration.

    Raises:
        UserError: there are too few samples.
    """
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (PATCH, PATCH, 3), dtype=np.uint8))
    decoders: dict[str, Any] = {"Pillow alone": None}
    if fast_png.imagecodecs is not None:
        decoders = {"imagecodecs": fast_png.imagecodecs, **decoders}
    times: dict[str, dict[bool, list[float]]] = {choice: {True: [], False: []} for choice in decoders}
    calibrations = []
    for number in range(count):
        jpeg_round_trip(noise)  # warm-up
        calibrations += [cpu_time(lambda: jpeg_round_trip(noise))[0] for _ in range(3)]
        for choice in list(decoders)[:: 1 if number % 2 else -1]:  # no choice is always the first to read the photos
            with patch.object(fast_png, "imagecodecs", decoders[choice]):
                spent, sample = cpu_time(lambda n=number: dataset[divmod(n, len(dataset))])  # type: ignore[misc]
            times[choice]["jpeg2000" in dict(sample["composition"])].append(spent)
    share = expected_share(dataset, "jpeg2000")
    means = {choice: weighted_mean(with_it[True], with_it[False], share) for choice, with_it in times.items()}
    unit = float(np.mean(calibrations))

    photos = dataset.images[:50]
    image, pixels = open_image(photos[0]), read_pixels(photos[0])
    halving = seconds(lambda: half_scale_pixels_bicubic(pixels), repeats=25)
    halving_by_pillow = seconds(lambda: half_scale_bicubic(image), repeats=25)
    print(f"\n{count} samples of {dataset.folder.name}, patch {PATCH}, up to 4 distortions of 5 levels, 1 thread")
    print(f"  calibration, a JPEG round trip of noise at quality 90: {1000 * unit:.2f} ms")
    print(f"  downscaling a photo by 2: {1000 * halving:.2f} ms, with Pillow {1000 * halving_by_pillow:.2f} ms")
    for choice, mean in means.items():
        with patch.object(fast_png, "imagecodecs", decoders[choice]):
            reading = cpu_time(lambda: [read_pixels(photo) for photo in photos])[0] / len(photos)
        print(
            f"  with {choice}: a sample takes {1000 * mean:.1f} ms = {mean / unit:.1f} x, reading a photo "
            f"{1000 * reading:.2f} ms; {CORES} cores make an epoch of {KADIS700:,} samples in "
            f"{KADIS700 * mean / CORES / 60:.1f} min, {GPU_RATE * mean:.1f} cores make {GPU_RATE} samples per second"
        )
    return f"{dataset.folder.name} " + ", ".join(f"{mean / unit:.1f} with {choice}" for choice, mean in means.items())


def jpeg_round_trip(noise: Image.Image) -> None:
    """Encodes and decodes an image as JPEG at quality 90 with Pillow, the unit of the calibration."""
    file = io.BytesIO()
    noise.save(file, "JPEG", quality=90)
    with Image.open(file) as decoded:
        decoded.load()


def cpu_time(work: Callable[[], Any]) -> tuple[float, Any]:
    """Returns the CPU time of this thread in seconds (without waiting for other programs), and the result."""
    begin = time.thread_time()
    result = work()
    return time.thread_time() - begin, result


def expected_share(dataset: KADIS700Dataset, name: str) -> float:
    """Returns the expected share of samples with a distortion type."""
    groups_per_sample = (1 - dataset.pristine_prob) * (1 + dataset.max_distortions) / 2
    return groups_per_sample / len(GROUPS) / len(get_group(DISTORTIONS[name].group))


def weighted_mean(with_type: list[float], without: list[float], share: float) -> float:
    """Returns the mean time of a sample, if `share` of the samples have the type.

    Raises:
        UserError: there are no samples with the type, or none without it.
    """
    if not with_type or not without:
        count = len(with_type) + len(without)
        raise UserError(
            f"--samples: found {count}; too few to have samples with and without JPEG 2000, use 100 or more"
        )
    return share * float(np.mean(with_type)) + (1 - share) * float(np.mean(without))


if __name__ == "__main__":
    run_command(main)
