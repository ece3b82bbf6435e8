"""Measures the time to score an image: a plain model, our model, and a lower bound from the matrix-product rate.

    python -m benchmarks.inference [--crop_size 224] [--repeats 7] [--images 8] [--device cuda] [--precision float16]

An image is one batch of ten crops, five at each scale. "plain" is torchvision's network in the default memory format
(NCHW), under no_grad. "ours" is `ARNIQA.forward` under inference_mode, with the malloc setting of the scripts. The
setting cannot be undone, so "ours" is measured last. "ONNX Runtime" runs the export
(`python -m models.export --format onnx`) on the same number of threads, on the CPU in float32, if it is installed.
Times are medians. The weights are random because the time does not depend on them.
"""

import tempfile
from pathlib import Path

import torch

from benchmarks.harness import forward_bound, network_parser, noise_images, print_times, seconds, start
from models.arniqa import ARNIQA
from models.errors import UserError
from models.export_graph import Run, check_packages, graph_file, onnx_runner
from models.regressor import EMBEDDING_DIM, Regressor
from models.resnet import ResNet
from utils.command import run_command
from utils.evaluation.inference import score_images
from utils.runtime.device import precision_context, tune_malloc

CROPS = 10


def quality_model(encoder: ResNet, folder: Path) -> ARNIQA:
    """Returns the quality model with this encoder and a random regressor; writes their weights to `folder`."""
    torch.save(encoder.state_dict(), folder / "ARNIQA.pth")
    fitted = Regressor(torch.randn(EMBEDDING_DIM), torch.tensor(0.5), "kadid10k", (1.0, 5.0), "mos")
    fitted.save_released(folder / "regressor_kadid10k.pth")
    return ARNIQA("kadid10k", folder)


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


def main() -> None:
    parser = network_parser("benchmarks.inference", __doc__, repeats=7, precision="float32")
    parser.add_argument("--crop_size", type=int, default=224, help="side of the crops in pixels (default: %(default)s)")
    parser.add_argument("--images", type=int, default=8, help="images in the scored folder (default: %(default)s)")
    options = start(parser)
    device, side, repeats = options.device, options.crop_size, options.repeats
    plain = ResNet(pretrained=False).eval()
    full, half = (torch.randn(CROPS // 2, 3, side, side, device=device) for _ in range(2))

    def run_plain() -> torch.Tensor:
        with torch.no_grad(), precision_context(options.precision, device):
            return torch.hstack(plain.features(torch.cat([full, half])).chunk(2))

    def run_ours(precision: str = options.precision) -> torch.Tensor:
        with torch.inference_mode(), precision_context(precision, device):
            return ours(full, half, return_embedding=True)[1]

    with tempfile.TemporaryDirectory() as name:
        ours = quality_model(plain, Path(name)).to(device)
        plain.to(device)
        print(f"largest difference between the features: {(run_plain() - run_ours()).abs().max().item():.1e}")
        times = {"plain": seconds(run_plain, repeats, device)}
        run_onnx = exported_to_onnx(ours, device, options.precision)
        if run_onnx:
            times["ONNX Runtime"] = seconds(lambda: run_onnx(full, half), repeats)
        tune_malloc()
        times["ours"] = seconds(run_ours, repeats, device)
        in_bfloat16 = seconds(lambda: run_ours("bfloat16"), repeats, device)
        error = (run_ours() - run_ours("bfloat16")).norm(dim=1).max().item()
        files = noise_images(Path(name), options.images)
        ours.crop_size = side
        rate = len(files) / seconds(lambda: list(score_images(ours, files)), repeats=1)
    print(f"folder of 512 x 384 images: {rate:.2f} images/s")
    print(
        f"bfloat16 (--precision): {in_bfloat16 / times['ours']:.2f} of our time, "
        f"error of the features (two vectors of length 1) {error:.4f}"
    )
    print_times(times, "image", forward_bound(CROPS, side, device, options.precision))


if __name__ == "__main__":
    run_command(main)
