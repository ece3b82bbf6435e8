"""Measures the time to extract features, as validation and test do: a plain loop, and ours.

    python -m benchmarks.features [--images 16] [--crop_size 224] [--repeats 3] [--device cuda] [--precision float16]

An image is ten crops, five at each scale. "plain" decodes and crops with the same functions, normalises each crop in
float32 where it was cropped, and runs the encoder as it was trained, in the default memory format (NCHW). "ours" is
`cached_features` with the inference encoder and the allocator setting of the scripts; the setting cannot be undone, so
"ours" is measured second. Both read in the main process. Times are medians.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from benchmarks.inference import FORWARD_MACS_224
from benchmarks.machine import description, matmul_rate, seconds
from models.image_file import open_image
from models.inference_encoder import inference_encoder
from models.preprocess import center_corners_crop, half_scale_bicubic, normalize, to_pixels, to_tensor
from models.resnet import ResNet
from utils.command import run_command
from utils.evaluation.features import cached_features, forget_features
from utils.runtime.device import DTYPES, choose_algorithms, precision_context, resolve_device, tune_malloc

CROPS = 10
BATCH = 16


class Noise:
    """Images of noise, 512 x 384, as a dataset whose crops are asked for."""

    name = "noise"
    annotation_hash = "noise"
    shorter_side: int | None = None

    def __init__(self, folder: Path, count: int, crop_size: int) -> None:
        self.crop_size = crop_size
        self.images = [folder / f"{number}.png" for number in range(count)]
        pixels = np.random.default_rng(0).integers(0, 256, (384, 512, 3), dtype=np.uint8)
        for path in self.images:
            Image.fromarray(pixels).save(path)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> dict[str, Any]:
        image = open_image(self.images[index])
        scales = {"full": image, "half": half_scale_bicubic(image)}
        crops = {
            name: torch.stack([to_pixels(crop) for crop in center_corners_crop(scale, self.crop_size)])
            for name, scale in scales.items()
        }
        return {**crops, "index": index, "truncated": False}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.features", description=__doc__)
    parser.add_argument("--images", type=int, default=16, help="images in the dataset (default: %(default)s)")
    parser.add_argument("--crop_size", type=int, default=224, help="side of the crops in pixels (default: %(default)s)")
    parser.add_argument("--repeats", type=int, default=3, help="timed extractions per variant (default: %(default)s)")
    parser.add_argument("--device", default="cpu", help="where to compute (default: %(default)s)")
    parser.add_argument("--precision", default="float32", choices=list(DTYPES), help="as test.precision")
    options = parser.parse_args()
    device = resolve_device(options.device)
    choose_algorithms(deterministic=False)
    print(f"{description(device)}, {options.precision}")

    torch.manual_seed(0)
    encoder = ResNet(pretrained=False).to(device).eval()
    folded = inference_encoder(encoder)
    with tempfile.TemporaryDirectory() as name:
        dataset, cache = Noise(Path(name), options.images, options.crop_size), Path(name) / "cache"

        def plain() -> Tensor:
            found = []
            with torch.no_grad(), precision_context(options.precision, device):
                for start in range(0, len(dataset), BATCH):
                    images = [open_image(path) for path in dataset.images[start : start + BATCH]]
                    scales = []
                    for scaled in (images, [half_scale_bicubic(image) for image in images]):
                        crops = [c for image in scaled for c in center_corners_crop(image, options.crop_size)]
                        batch = torch.stack([normalize(to_tensor(crop)) for crop in crops]).to(device)
                        scales.append(encoder.features(batch).float())
                    found.append(torch.cat(scales, dim=1).cpu())
            return torch.cat(found).unflatten(0, (-1, CROPS // 2))

        def ours() -> np.ndarray:
            forget_features(cache, "benchmark")
            found, _ = cached_features(folded, dataset, BATCH, 0, device, cache, "benchmark", options.precision)
            assert found is not None
            return np.array(found)

        error = np.abs(ours() - plain().numpy()).max()
        floor = len(dataset) * CROPS * FORWARD_MACS_224 * (options.crop_size / 224) ** 2
        floor /= matmul_rate(device, options.precision)
        times = {"plain": seconds(plain, options.repeats, device)}
        tune_malloc()
        times["ours"] = seconds(ours, options.repeats, device)
    print(f"largest difference between the features: {error:.1e}")
    for name, time in times.items():
        print(f"{name}: {time / len(dataset):.3g} s per image, {time / floor:.2f} times the matrix-product bound")
    print(f"ours / plain: {times['ours'] / times['plain']:.2f}")


if __name__ == "__main__":
    run_command(main)
