"""Measures the time to extract features in validation and test: a plain loop, and ours.

    python -m benchmarks.features [--images 16] [--crop_size 224] [--repeats 3] [--device cuda] [--precision float16]

An image is ten crops, five at each scale. "plain" decodes and crops with the same functions, normalises each crop in
float32 on the CPU, and runs the original encoder in the default memory format (NCHW). "ours" is `cached_features` with
the inference encoder and the malloc setting of the scripts. The setting cannot be undone, so "ours" is measured second.
Both read images in the main process. Times are medians.
"""

import tempfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.harness import forward_bound, network_parser, photo_files, print_times, seconds, start
from data import get_dataset
from data.iqa_dataset import IQADataset
from models.image_file import open_image
from models.inference_encoder import inference_encoder
from models.preprocess import center_corners_crop, half_scale_bicubic, normalize, to_tensor
from models.resnet import ResNet
from utils.command import run_command
from utils.config.keys import TestSection
from utils.evaluation.features import cached_features, forget_features
from utils.runtime.device import choose_algorithms, precision_context, tune_malloc

CROPS = 10
BATCH = 16


def noise_dataset(folder: Path, count: int, crop_size: int) -> IQADataset:
    """Writes a dataset of `count` noise images with arbitrary scores to `folder`, and opens it."""
    folder.mkdir()
    rows = [f"{path.name},{number}\n" for number, path in enumerate(photo_files(folder, count, 512, 384))]
    (folder / "labels.csv").write_text("".join(["image,score\n", *rows]), encoding="utf-8")
    (folder / "dataset.yaml").write_text(f"range: [0, {count}]\ndirection: higher\n", encoding="utf-8")
    return get_dataset(folder.name, folder.parent, crop_size, with_splits=False)


def main() -> None:
    parser = network_parser("benchmarks.features", __doc__, repeats=3, precision="float32")
    parser.add_argument("--images", type=int, default=16, help="images in the dataset (default: %(default)s)")
    parser.add_argument("--crop_size", type=int, default=224, help="side of the crops in pixels (default: %(default)s)")
    options = start(parser)
    device, precision, repeats = options.device, options.precision, options.repeats
    choose_algorithms(deterministic=False)
    encoder = ResNet(pretrained=False).to(device).eval()
    folded = inference_encoder(encoder)

    def plain() -> Tensor:
        found = []
        with torch.no_grad(), precision_context(precision, device):
            for first in range(0, len(dataset), BATCH):
                images = [open_image(path) for path in dataset.images[first : first + BATCH]]
                scales = []
                for scaled in (images, [half_scale_bicubic(image) for image in images]):
                    crops = [crop for image in scaled for crop in center_corners_crop(image, options.crop_size)]
                    batch = torch.stack([normalize(to_tensor(crop)) for crop in crops]).to(device)
                    scales.append(encoder.features(batch).float())
                found.append(torch.cat(scales, dim=1).cpu())
        return torch.cat(found).unflatten(0, (-1, CROPS // 2))

    def ours() -> np.ndarray:
        forget_features(cache, "benchmark")
        settings = TestSection(batch_size=BATCH, num_workers=0, precision=precision)
        found, _ = cached_features(folded, dataset, settings, device, "benchmark", cache)
        assert found is not None
        return np.array(found)

    with tempfile.TemporaryDirectory() as name:
        dataset, cache = noise_dataset(Path(name) / "noise", options.images, options.crop_size), Path(name) / "cache"
        print(f"largest difference between the features: {np.abs(ours() - plain().numpy()).max():.1e}")
        times = {"plain": seconds(plain, repeats, device) / len(dataset)}
        tune_malloc()
        times["ours"] = seconds(ours, repeats, device) / len(dataset)
    print_times(times, "image", forward_bound(CROPS, options.crop_size, device, precision))


if __name__ == "__main__":
    run_command(main)
