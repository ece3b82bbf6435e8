"""Measures the time of the degradation model per type and level and per training sample, or draws a contact sheet.

python -m benchmarks.degradation [--images FOLDER] [--only TYPE_OR_GROUP ...] [--figure PATH]
"""

import argparse
import io
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from PIL import Image
from torch import Generator, Tensor

from benchmarks.machine import seconds
from data.kadis700 import KADIS700Dataset, half_scale_pixels
from utils.distortions import DISTORTIONS, GROUPS, Distortion, degrade, get_group, sample_composition
from utils.errors import UserError, run_command
from utils.image import half_scale, open_image, read_pixels, to_tensor
from utils.runtime.allocator import keep_freed_memory
from utils.runtime.files import write_whole

PATCH = 224
PRISTINE = Path(__file__).resolve().parents[2] / "shared" / "data" / "pristine"  # next to a development checkout
QUICKSTART = Path("quickstart_data/KADIS700/ref_imgs")
FIGURE_PATCH = 128


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--images",
        type=Path,
        default=PRISTINE if PRISTINE.is_dir() else QUICKSTART,
        help="folder of pristine photos (default: %(default)s)",
    )
    parser.add_argument("--samples", type=int, default=500, help="training samples to time (default: %(default)s)")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="time only these types or groups, and no samples")
    parser.add_argument("--figure", type=Path, help="draw a contact sheet to this file and measure no times")
    arguments = parser.parse_args()
    if arguments.samples < 1:
        raise UserError(f"--samples: found {arguments.samples}; must be at least 1")
    keep_freed_memory()  # same as in main.py
    torch.set_num_threads(1)
    dataset = KADIS700Dataset(arguments.images, patch_size=PATCH, images_folder=".")
    if arguments.figure:
        draw_contact_sheet(dataset.images, arguments.figure)
        return
    types = chosen_types(arguments.only or GROUPS)
    image = _photo(dataset.images[0], PATCH)
    print(f"ms per {PATCH} x {PATCH} image, levels 1 to 5 (median of 7)")
    for distortion in types:
        times = [
            seconds(lambda d=distortion, v=level: d(image, v, Generator().manual_seed(0)), repeats=7)  # type: ignore[misc]
            for level in distortion.levels
        ]
        print(f"{distortion.name:18s}" + "".join(f"{1000 * t:8.2f}" for t in times))
    if not arguments.only:
        time_samples(dataset, arguments.samples)


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


def time_samples(dataset: KADIS700Dataset, count: int) -> None:
    """Prints the mean time of a training sample, the time of its parts, and its ratio to the calibration.

    The calibration is measured before every sample, so that both are measured under the same load.
    """
    pixels = np.random.default_rng(0).integers(0, 256, (PATCH, PATCH, 3), dtype=np.uint8)
    noise = Image.fromarray(pixels)
    times: dict[str, list[float]] = {name: [] for name in DISTORTIONS}
    for name, distortion in DISTORTIONS.items():
        DISTORTIONS[name] = replace(distortion, function=_timed(distortion, times[name]))
    crop = torch.rand(3, PATCH, PATCH)
    copying = seconds(crop.clone, repeats=25)
    decoding = float(np.mean([seconds(lambda p=p: read_pixels(p), repeats=1) for p in dataset.images[:50]]))  # type: ignore[misc]
    image, photo = open_image(dataset.images[0]), read_pixels(dataset.images[0])
    halving = seconds(lambda: half_scale_pixels(photo), repeats=25)
    halving_by_pillow = seconds(lambda: half_scale(image), repeats=25)
    samples, calibrations = [], []
    for index in range(count):
        calibrations.append(seconds(lambda: jpeg_round_trip(noise), repeats=3))
        start = time.perf_counter()
        dataset[index // len(dataset), index % len(dataset)]
        samples.append(time.perf_counter() - start)
    mean, unit = float(np.mean(samples)), float(np.mean(calibrations))

    def part(label: str, seconds: float) -> None:
        print(f"  {label}: {1000 * seconds:.1f} ms = {seconds / unit:.1f} x, {100 * seconds / mean:.0f} %")

    print(f"\n{count} samples of {dataset.folder.name}, patch {PATCH}, up to 4 distortions of 5 levels, 1 thread")
    print(f"  median {1000 * np.median(samples):.1f} ms, 95th percentile {1000 * np.percentile(samples, 95):.1f} ms")
    print(f"  calibration, a JPEG round trip of noise at quality 90: {1000 * unit:.2f} ms")
    spent = {name: sum(durations) / count for name, durations in times.items()}
    degrading, others = sum(spent.values()), sum(spent.values()) - spent["jpeg2000"]
    part("decoding, resizing, cropping, normalising", mean - degrading)
    part("  of which decoding the two photos", 2 * decoding)
    print(f"    downscaling a photo by 2: {1000 * halving:.2f} ms, with Pillow {1000 * halving_by_pillow:.2f} ms")
    part("JPEG 2000", spent["jpeg2000"])
    calls, expected = len(times["jpeg2000"]) / count, expected_calls(dataset, "jpeg2000")
    print(f"    {calls:.2f} calls per sample, expected {expected:.2f}")
    if calls:
        corrected = mean + (expected / calls - 1) * spent["jpeg2000"]
        print(f"    mean per sample with the expected number of calls: {corrected / unit:.1f} x the calibration")
    part("the other 23 types", others)
    for name in sorted(spent, key=lambda n: -spent[n])[1:7]:
        part(f"  of which {name}", spent[name])
    each = others * count / sum(len(durations) for name, durations in times.items() if name != "jpeg2000")
    print(f"  one call on one crop: {1000 * each:.2f} ms, {each / copying:.0f} times the time to copy the crop")
    print(f"mean per sample: {1000 * mean:.1f} ms = {mean / unit:.1f} x the calibration")


def expected_calls(dataset: KADIS700Dataset, name: str) -> float:
    """Expected number of calls of a type for the four crops of a sample."""
    composed, groups = 1 - dataset.pristine_prob, (1 + dataset.max_distortions) / 2
    return 4 * composed * groups / len(GROUPS) / len(get_group(DISTORTIONS[name].group))


def _timed(distortion: Distortion, times: list[float]) -> Callable[..., Tensor]:
    """Wraps the distortion's function so that the duration of each call is appended to `times`."""

    def run(*args: Any, **options: Any) -> Tensor:
        start = time.perf_counter()
        result = distortion.function(*args, **options)
        times.append(time.perf_counter() - start)
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
        write_whole(path, lambda file: figure.savefig(file, format=path.suffix[1:], dpi=80))
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
