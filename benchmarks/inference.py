"""Measures scoring: from image files to scores in a CSV file, and the encoder's time for one image.

    python -m benchmarks.inference [--crop_size 224] [--repeats 7] [--images 8] [--device cuda] [--precision float16]

From files to scores, "ours" is `single_image_inference.py --output` with its defaults: all threads, batches of four,
files read in the main process. On a GPU, a process per core reads, except for the shares of the stages. "plain" is
PyTorch as one would write it: Pillow, torchvision's transforms and network in the default memory format (NCHW), under
no_grad, image by image, with a call for the five crops of each scale. "torchmetrics" is its metric ARNIQA as it is.

For the encoder, an image is one batch of ten crops. "plain" is the same network, "ours" is `forward` under
inference_mode. "ONNX Runtime" runs the export (`python -m models.export --format onnx`) on the same number of threads,
on the CPU in float32, if it is installed. The malloc setting of the scripts cannot be undone, so "ours" is measured
last. Times are medians. The weights are random because the time does not depend on them.
"""

import argparse
import csv
import os
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from unittest.mock import patch

import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import Compose, Normalize, ToTensor

from benchmarks import harness
from benchmarks.harness import seconds
from models.arniqa import ARNIQA
from models.errors import UserError
from models.export_graph import Run, check_packages, graph_file, onnx_runner
from models.multi_regressor import MultiRegressorARNIQA
from models.preprocess import center_corners_crop
from models.regressor import EMBEDDING_DIM, Regressor
from models.resnet import ResNet
from utils.command import run_command
from utils.evaluation import inference
from utils.evaluation.score_file import ScoreFile
from utils.runtime.device import precision_context, tune_malloc

CROPS = 10
PHOTO = (1024, 768)
PREPARE = Compose([ToTensor(), Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))])


def quality_model(encoder: ResNet, folder: Path) -> MultiRegressorARNIQA:
    """Returns the quality model with this encoder and a random regressor; writes their weights to `folder`."""
    folder.mkdir()
    torch.save(encoder.state_dict(), folder / "ARNIQA.pth")
    fitted = Regressor(torch.randn(EMBEDDING_DIM), torch.tensor(0.5), "kadid10k", (1.0, 5.0), "mos")
    fitted.save_released(folder / "regressor_kadid10k.pth")
    return MultiRegressorARNIQA("kadid10k", folder)


def exported_to_onnx(model: ARNIQA, device: torch.device, precision: str) -> Run | None:
    """Returns a function that runs the model's export with ONNX Runtime; if not possible, prints why, returns None."""
    try:
        check_packages("onnx")
    except UserError as error:
        print(f"ONNX Runtime is not measured: {error}")
        return None
    if device.type != "cpu" or precision != "float32":
        print("ONNX Runtime is not measured: it is compared on the CPU in float32 only")
        return None
    return onnx_runner(graph_file(model, "onnx"))


def torchmetrics_score(hub: Path, device: torch.device) -> Callable[[Image.Image], Tensor] | None:
    """Returns torchmetrics' metric with the weights in torch.hub's folder `hub`; if not installed, prints so."""
    if find_spec("torchmetrics") is None:
        print("torchmetrics is not measured: it is not installed")
        return None
    with patch.object(torch.hub, "_hub_dir", str(hub)):
        metric = import_module("torchmetrics.image.arniqa").ARNIQA(regressor_dataset="kadid10k").to(device)
    return lambda image: metric(ToTensor()(image).unsqueeze(0).to(device))


def plain_score(encoder: ResNet, model: ARNIQA, image: Image.Image) -> Tensor:
    """Scores an image with the original encoder, and with the regressor and the `crop_size` of the model."""
    features = []
    for scale in (image, image.resize((image.width // 2, image.height // 2), Image.Resampling.BILINEAR)):
        crops = torch.stack([PREPARE(crop) for crop in center_corners_crop(scale, model.crop_size)])
        features.append(encoder.features(crops.to(model.regressor.weight.device)))
    return model.regress(torch.hstack(features)).mean()


def one_by_one(score: Callable[[Image.Image], Tensor], files: Sequence[Path], output: Path) -> list[float]:
    """Scores files with `score` and writes the scores to a CSV file."""
    with torch.no_grad():
        scores = [score(Image.open(path).convert("RGB")).item() for path in files]
    with output.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(zip(files, scores, strict=True))
    return scores


def our_scores(model: MultiRegressorARNIQA, workers: int, files: Sequence[Path], output: Path) -> list[float]:
    """Scores files as `single_image_inference.py --output` does."""
    output.unlink(missing_ok=True)  # else it would be continued
    scores = []
    with ScoreFile(output, "benchmark", model.regressor_dataset) as file:
        for results in inference.score_images(model, file.todo(files), num_workers=workers):
            file.add(results)
            scores += [result.values[0] for result in results]
    return scores


def encoder_times(ours: ARNIQA, plain: ResNet, options: argparse.Namespace) -> dict[str, float]:
    """Returns the seconds per image of the encoder variants; the last one keeps the malloc setting of the scripts."""
    device, side, repeats = options.device, options.crop_size, options.repeats
    full, half = (torch.randn(CROPS // 2, 3, side, side, device=device) for _ in range(2))

    def run_plain() -> Tensor:
        with torch.no_grad():
            return torch.hstack(plain.features(torch.cat([full, half])).chunk(2))

    def run_ours(precision: str = options.precision) -> Tensor:
        with torch.inference_mode(), precision_context(precision, device):
            return ours(full, half, return_embedding=True)[1]

    times = {"plain": seconds(run_plain, repeats, device)}
    if run_onnx := exported_to_onnx(ours, device, options.precision):
        times["ONNX Runtime"] = seconds(lambda: run_onnx(full, half), repeats)
    tune_malloc()
    times["ours"] = seconds(run_ours, repeats, device)
    in_bfloat16 = seconds(lambda: run_ours("bfloat16"), repeats, device)
    error = (run_ours() - run_ours("bfloat16")).norm(dim=1).max().item()
    print(
        f"bfloat16 (--precision): {in_bfloat16 / times['ours']:.2f} of our time, "
        f"error of the features (two vectors of length 1) {error:.4f}"
    )
    return times


def print_rates(rates: dict[str, float], side: int) -> None:
    """Prints images per second from files to scores, and how many pixels are encoded."""
    for how, images in rates.items():
        print(f"{how:22s} {images:7.3g} images/s, {images / rates['plain']:.2f} x plain")
    width, height = PHOTO
    whole = width * height + (width // 2) * (height // 2)
    print(f"pixels encoded per image: {CROPS * side**2:,} in ten crops; torchmetrics: {whole:,}, image at both scales")


def main() -> None:
    parser = harness.network_parser("benchmarks.inference", __doc__, repeats=7, precision="float32")
    parser.add_argument("--crop_size", type=int, default=224, help="side of the crops in pixels (default: %(default)s)")
    parser.add_argument("--images", type=int, default=8, help="image files to score (default: %(default)s)")
    options = harness.start(parser)
    device, threads = options.device, torch.get_num_threads()
    workers = 0 if device.type == "cpu" else os.cpu_count() or 1
    plain = ResNet(pretrained=False).eval()

    def rate(score_files: Callable[[Sequence[Path], Path], object], runs: int = 3) -> float:
        return len(files) / seconds(lambda: score_files(files, output), runs, device)

    with tempfile.TemporaryDirectory() as name, precision_context(options.precision, device):
        output, files = Path(name, "scores.csv"), harness.photo_files(Path(name), options.images, *PHOTO)
        ours = quality_model(plain, Path(name, "checkpoints")).to(device)  # where torch.hub keeps weights
        ours.models[0].crop_size = options.crop_size
        by_plain = partial(one_by_one, partial(plain_score, plain.to(device), ours.models[0]))
        by_ours = partial(our_scores, ours, workers)
        pairs = zip(by_plain(files, output), by_ours(files, output), strict=True)
        print(f"largest difference between the scores: {max(abs(one - other) for one, other in pairs):.1e}")
        rates = {"plain": rate(by_plain)}
        if metric := torchmetrics_score(Path(name), device):
            rates["torchmetrics"] = rate(partial(one_by_one, metric), runs=1)
        times = encoder_times(ours.models[0], plain, options)
        rates["ours"] = rate(by_ours)
        shares = harness.stage_shares(lambda: our_scores(ours, 0, files, output))
        bound = harness.forward_bound(CROPS, options.crop_size, device, options.precision)
        if device.type == "cpu":
            torch.set_num_threads(1)
            rates["ours, one thread"] = rate(by_ours, runs=1)
            torch.set_num_threads(threads)
    print(
        f"{len(files)} JPEG files of {' x '.join(map(str, PHOTO))} pixels to a CSV file; {workers or 'no'} workers read"
    )
    print_rates(rates, options.crop_size)
    print("shares of our time: " + ", ".join(f"{stage} {share:.1%}" for stage, share in shares.items()))
    longest = max(shares, key=lambda stage: shares[stage])
    print(f"bound by {longest!r}, {shares[longest]:.0%}; the encoder takes {times['ours'] / bound:.2f} x its bound")
    from_files = f"files to scores: {rates['ours'] / rates['plain']:.2f} x plain's images/s"
    harness.print_times(times, "image", bound, [from_files])


if __name__ == "__main__":
    run_command(main)
