"""Measures the time of the degradation model per type and level and per training sample, or draws a contact sheet.

Samples are timed for each folder of photos, with the decoders of imagecodecs if it is installed and with Pillow alone.

python -m benchmarks.degradation [--images FOLDER ...] [--only TYPE_OR_GROUP ...] [--figure PATH]
"""

import argparse
import io
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from matplotlib.figure import Figure
from PIL import Image
from torch import Generator, Tensor

from benchmarks.machine import seconds
from data import fast_png, kadis700
from data.fast_png import read_pixels
from data.kadis700 import KADIS700Dataset, half_scale_pixels_bicubic
from models.errors import UserError
from models.files import write_atomic
from models.image_file import open_image
from models.preprocess import half_scale_bicubic, to_tensor
from utils.command import run_command
from utils.distortions import DISTORTIONS, GROUPS, Distortion, degrade, get_group, sample_composition
from utils.runtime.device import tune_malloc

PATCH = 224
SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"  # next to a development checkout
PRISTINE = [folder for folder in (SHARED / "pristine", SHARED / "pristine_png") if folder.is_dir()]  # JPEG and PNG
QUICKSTART = [Path("quickstart_data/KADIS700/ref_imgs")]
FIGURE_PATCH = 128
DECODING = "decoding"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--images",
        type=Path,
        nargs="+",
        default=PRISTINE or QUICKSTART,
        metavar="FOLDER",
        help="folders of pristine photos (default: %(default)s)",
    )
    parser.add_argument("--samples", type=int, default=500, help="samples to time per folder (default: %(default)s)")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="time only these types or groups, and no samples")
    parser.add_argument("--figure", type=Path, help="draw a contact sheet to this file and measure no times")
    arguments = parser.parse_args()
    if arguments.samples < 1:
        raise UserError(f"--samples: found {arguments.samples}; must be at least 1")
    tune_malloc()  # same as in main.py
    torch.set_num_threads(1)
    datasets = [KADIS700Dataset(folder, patch_size=PATCH, images_folder=".") for folder in arguments.images]
    if arguments.figure:
        draw_contact_sheet(datasets[0].images, arguments.figure)
        return
    types = chosen_types(arguments.only or GROUPS)
    image = _photo(datasets[0].images[0], PATCH)
    print(f"ms per {PATCH} x {PATCH} image, levels 1 to 5 (median of 7)")
    for distortion in types:
        times = [
            seconds(lambda d=distortion, v=level: d(image, v, Generator().manual_seed(0)), repeats=7)  # type: ignore[misc]
            for level in distortion.levels
        ]
        print(f"{distortion.name:18s}" + "".join(f"{1000 * t:8.2f}" for t in times))
    if not arguments.only:
        print("mean sample / calibration: " + "; ".join(time_samples(each, arguments.samples) for each in datasets))


def chosen_types(names: Sequence[str]) -> list[Distortion]:
    """The distortion types with these names; the name of a group selects all its types.

    Raises:
        UserError: a name is neither a type nor a group; the message lists all names.
    """
    types: list[Distortion] = []
    for name in names:
        if name not in GROUPS and name not in DISTORTIONS:
            raise UserError(
                f"--only: found {name!r}; use a group ({', '.join(GROUPS)}) or a type ({', '.join(DISTORTIONS)})"
            )
        types += get_group(name) if name in GROUPS else [DISTORTIONS[name]]
    return types


def jpeg_round_trip(noise: Image.Image) -> None:
    """The calibration unit: Pillow encodes and decodes an image as JPEG at quality 90."""
    file = io.BytesIO()
    noise.save(file, "JPEG", quality=90)
    with Image.open(file) as decoded:
        decoded.load()


def time_samples(dataset: KADIS700Dataset, count: int) -> str:
    """Prints the mean CPU time of a training sample and of its parts, and their ratios to the calibration.

    The calibration and each choice of decoders are measured for every sample, so that all are measured under the same
    load. CPU time of this one thread, because waiting for other programs would count more in a long sample.

    Returns:
        One line with the folder's name and, for each choice of decoders, the ratio of the mean to the calibration.
    """
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (PATCH, PATCH, 3), dtype=np.uint8))
    positions = typical_positions(dataset, count)
    choices: dict[str, Any] = {"Pillow alone": None}
    if fast_png.imagecodecs is not None:
        choices = {"imagecodecs": fast_png.imagecodecs, **choices}
    samples: dict[str, list[float]] = {choice: [] for choice in choices}
    spent = {choice: dict.fromkeys((DECODING, *DISTORTIONS), 0.0) for choice in choices}
    times: dict[str, list[float]] = {name: [] for name in (DECODING, *DISTORTIONS)}
    calibrations = []
    image, photo = open_image(dataset.images[0]), read_pixels(dataset.images[0])
    halving = seconds(lambda: half_scale_pixels_bicubic(photo), repeats=25)
    halving_by_pillow = seconds(lambda: half_scale_bicubic(image), repeats=25)
    timed = {name: replace(d, function=_timed(d.function, times[name])) for name, d in DISTORTIONS.items()}
    timed_reading = patch.object(kadis700, "read_pixels", _timed(read_pixels, times[DECODING]))
    with patch.dict(DISTORTIONS, timed), timed_reading:
        for number, position in enumerate(positions):
            jpeg_round_trip(noise)  # warm-up
            calibrations += [cpu_seconds(lambda: jpeg_round_trip(noise)) for _ in range(3)]
            for choice in list(choices)[:: 1 if number % 2 else -1]:  # none is always the first to read the photos
                with patch.object(fast_png, "imagecodecs", choices[choice]):
                    samples[choice].append(cpu_seconds(lambda p=position: dataset[p]))  # type: ignore[misc]
                for name, durations in times.items():
                    spent[choice][name] += sum(durations) / count
                    durations.clear()
    unit = float(np.mean(calibrations))
    means = {choice: float(np.mean(durations)) for choice, durations in samples.items()}

    def part(label: str, of: Callable[[str], float]) -> None:
        """Prints milliseconds, ratio to the calibration and share of the sample for each choice of decoders."""
        cells = (f"{1000 * of(c):.1f} ms = {of(c) / unit:.1f} x, {100 * of(c) / means[c]:.0f} %" for c in choices)
        print(f"  {label:38s}" + "".join(f"{cell:>27s}" for cell in cells))

    def others(choice: str) -> float:
        return sum(spent[choice][name] for name in DISTORTIONS if name != "jpeg2000")

    print(f"\n{count} samples of {dataset.folder.name}, patch {PATCH}, up to 4 distortions of 5 levels, 1 thread")
    print(f"  calibration, a JPEG round trip of noise at quality 90: {1000 * unit:.2f} ms")
    print(f"  JPEG 2000: {expected_calls(dataset, 'jpeg2000'):.2f} calls per sample, which is the expected number")
    print(" " * 40 + "".join(f"{choice:>27s}" for choice in choices))
    part("decoding the two photos", lambda choice: spent[choice][DECODING])
    part("JPEG 2000", lambda choice: spent[choice]["jpeg2000"])
    part("the other 23 types", others)
    first = next(iter(choices))
    for slow in sorted(set(DISTORTIONS) - {"jpeg2000"}, key=lambda name: -spent[first][name])[:6]:
        part(f"  of which {slow}", lambda choice, name=slow: spent[choice][name])  # type: ignore[misc]
    part("resizing, cropping, normalising", lambda choice: means[choice] - sum(spent[choice].values()))
    print(f"    downscaling a photo by 2: {1000 * halving:.2f} ms, with Pillow {1000 * halving_by_pillow:.2f} ms")
    part("mean per sample", lambda choice: means[choice])
    ratios = (f"{means[choice] / unit:.1f} with {choice}" for choice in choices)
    return f"{dataset.folder.name} {', '.join(ratios)}"


def typical_positions(dataset: KADIS700Dataset, count: int) -> list[tuple[int, int]]:
    """The first `count` samples, without those that would make JPEG 2000 more or less frequent than it is expected.

    JPEG 2000 takes the most time. The share of samples that have it, one in six, has a standard deviation of a tenth
    of that in 500 samples.
    """
    share = expected_calls(dataset, "jpeg2000") / 4
    left = {True: round(share * count), False: count - round(share * count)}
    positions: list[tuple[int, int]] = []
    number = 0
    while len(positions) < count:
        position = divmod(number, len(dataset))
        number += 1
        has_it = any(name == "jpeg2000" for name, _ in dataset[position]["composition"])
        if left[has_it]:
            left[has_it] -= 1
            positions.append(position)
    return positions


def expected_calls(dataset: KADIS700Dataset, name: str) -> float:
    """Expected number of calls of a type for the four crops of a sample."""
    composed, groups = 1 - dataset.pristine_prob, (1 + dataset.max_distortions) / 2
    return 4 * composed * groups / len(GROUPS) / len(get_group(DISTORTIONS[name].group))


def cpu_seconds(work: Callable[[], object]) -> float:
    start = time.thread_time()
    work()
    return time.thread_time() - start


def _timed(function: Callable[..., Tensor], times: list[float]) -> Callable[..., Tensor]:
    """Wraps a function so that the duration of each call is appended to `times`."""

    def run(*args: Any, **options: Any) -> Tensor:
        start = time.thread_time()
        result = function(*args, **options)
        times.append(time.thread_time() - start)
        return result

    return run


def draw_contact_sheet(images: list[Path], path: Path) -> None:
    """Draws 24 types x 5 levels on one photo and ten random compositions on other photos, with labels.

    Raises:
        UserError: there are fewer than two images, the suffix is not an image format, or the file cannot be written.
    """
    if len(images) < 2:
        raise UserError(f"{images[0].parent}: {len(images)} image; the figure needs at least 2")
    # In the quickstart data, this image contains sky, edges, leaves and colours.
    photo = _photo(images[len(images) // 3], FIGURE_PATCH)
    cells: list[tuple[str, Tensor]] = []
    for distortion in DISTORTIONS.values():
        for number, level in enumerate(distortion.levels, 1):
            options = {"angle": 30} if distortion.name == "motionblur" else {}
            degraded = distortion(photo, level, Generator().manual_seed(number), **options)
            cells.append((f"{distortion.name} {level:g}", degraded))
    for seed in range(10):
        generator = Generator().manual_seed(seed)
        composition = sample_composition(generator)
        other = _photo(images[(seed * 37) % len(images)], FIGURE_PATCH)
        title = "\n".join(f"{name} {level:g}" for name, level in composition)
        cells.append((title, degrade(other, composition, generator)))
    # Each row of ten shows two types; the last row shows the compositions.
    figure = Figure(figsize=(15, 23.5))
    axes = figure.subplots(13, 10, gridspec_kw={"hspace": 0.25, "wspace": 0.05})
    for axis, (title, image) in zip(axes.flat, cells, strict=True):
        axis.imshow(image.permute(1, 2, 0).numpy())
        axis.set_title(title, fontsize=8)
        axis.axis("off")
    figure.subplots_adjust(left=0.01, right=0.99, top=0.985, bottom=0.005)
    for axis in axes[-1]:  # leave space for titles of up to four lines
        box = axis.get_position()
        axis.set_position((box.x0, box.y0 - 0.004, box.width, box.height * 0.72))
    try:
        write_atomic(path, lambda file: figure.savefig(file, format=path.suffix[1:], dpi=80))
    except ValueError as error:  # unknown suffix
        raise UserError(f"{path}: {error}") from error
    print(f"written to {path}")


def _photo(path: Path, size: int) -> Tensor:
    """The centre crop of a photo: 3 x size x size."""
    image = open_image(path)
    left, top = (image.width - size) // 2, (image.height - size) // 2
    return to_tensor(image.crop((left, top, left + size, top + size)))


if __name__ == "__main__":
    run_command(main)
