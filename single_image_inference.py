"""Scores one image or all images in a folder: python single_image_inference.py --img_path PATH."""

if __name__ == "__main__":
    from utils.errors import end_quietly_on_interrupt

    end_quietly_on_interrupt()

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image
from tqdm import tqdm

from models.arniqa import ARNIQA
from models.preprocess import CROP_NAMES, half_scale, open_image, read_crops, resize_shorter_side, two_scale_crops
from models.weights import RELEASED_SCORES, regressor_hash
from utils.config.command_line import OneLineParser, file_path, integer
from utils.config.keys import KEYS, MAX_SIDE
from utils.errors import UserError, run_command
from utils.evaluation.inference import embed_reference, find_images, score_crops, score_images
from utils.evaluation.score_file import ScoreFile
from utils.experiment.layout import Experiment
from utils.output import output_dropped
from utils.report.figure_file import check_figure
from utils.report.quality_map import QUALITY_MAP, local_scores, save_quality_map
from utils.report.scores import check_report, write_scores
from utils.runtime.allocator import keep_freed_memory
from utils.runtime.device import resolve_device
from utils.runtime.files import check_output
from utils.runtime.precision import DTYPES, arithmetic, check_precision

SCORED_BY = {  # by `ARNIQA.score_kind`
    "human": "as its raters saw them",
    "pseudo": "by their pseudo-scores, not human ones",
    "unstated": "by their scores",
}
OF_ONE_IMAGE = ("explain", "quality_map")  # options that neither a file of scores nor a reference image goes with


def main(argv: Sequence[str] | None = None) -> int:
    """Returns 0 if every image has a score, else 1."""
    keep_freed_memory()
    arguments = parse_arguments(argv)
    paths = find_images(arguments.img_path)
    for option in OF_ONE_IMAGE:
        if getattr(arguments, option) and len(paths) > 1:
            raise UserError(f"--{option}: found {len(paths)} images; set --img_path to one image file")
    if arguments.explain and not arguments.quality_map:
        arguments.quality_map = Path(f"{paths[0].stem}_quality.png")
    if arguments.quality_map:
        check_figure("--quality_map", arguments.quality_map, QUALITY_MAP)
    if arguments.output:  # what is in it, `ScoreFile` checks
        check_output("--output", arguments.output, (".csv",), marker=b"")
    if arguments.report:
        check_report(arguments.report)
    model, crop_size, about = load_model(arguments)
    device = model.regressor.weight.device
    check_precision("--precision", arguments.precision, device)
    if arguments.precision != model.precision:
        found = f"the regressor was fitted on features in {model.precision}"
        print(f"{found}; these are in {arguments.precision} (--precision)", file=sys.stderr)
    if arguments.regressor_dataset == "spaq" and model.fitted_on is None and not arguments.resize:
        print(
            "the released regressor of spaq was fitted on images with a shorter side of 512 pixels; images are scored "
            "as they are, as published (--resize 512 resizes them)",
            file=sys.stderr,
        )
    with arithmetic(arguments.precision, device):
        return score(arguments, paths, model, crop_size, about)


def score(arguments: argparse.Namespace, paths: list[Path], model: ARNIQA, crop_size: int, about: str) -> int:
    """Scores the images as the arguments say; returns the exit code of `main`."""
    side = arguments.resize or model.shorter_side
    read = partial(read_crops, crop_size=crop_size, shorter_side=side)
    options: dict[str, Any] = {
        "read_crops": read,
        "batch_size": arguments.batch_size,
        "num_workers": arguments.num_workers,
        "rank": model.rank,
    }
    size = f"crops of {crop_size}" + (f", shorter side of {side}" if side else "")
    if arguments.reference:
        options["reference"] = embed_reference(model, arguments.reference, read)
        about += f", reference {arguments.reference}"
    precision = "" if arguments.precision == "float32" else f", {arguments.precision}"
    about = f"{about}, {size}{precision}"
    ranked_among = f"{model.dataset}'s images, {SCORED_BY[model.score_kind]}"
    if arguments.output:
        with ScoreFile(arguments.output, about, paths, model.rank) as file:
            results = score_images(model, file.todo, **options)
            for result in tqdm(results, total=len(file.todo), unit="image", disable=None):
                file.add(result)
            everything = file.results() if arguments.report else []
        print(f"{arguments.output}: {len(paths)} images, {file.failed} without a score")
        if arguments.report:
            write_scores(arguments.report, everything, about, ranked_among)
        return int(file.failed > 0)
    failed = 0
    everything = []
    for result in score_images(model, paths, **options):
        everything.append(result)
        if output_dropped() and not arguments.report:
            break  # nobody gets the scores
        if result.value is None:
            failed += 1
            print(f"error: {result.error}", file=sys.stderr)
        else:
            text = score_and_rank(result.value, result.rank, ranked_among)
            print(f"{result.path}: {text}" if len(paths) > 1 else text, flush=True)
            if arguments.quality_map:
                image = resize_shorter_side(open_image(result.path), side)
                if arguments.explain:
                    explain(model, image, crop_size)
                quality = local_scores(model, image, half_scale(image), crop_size)
                save_quality_map(arguments.quality_map, image, quality, result.value)
                if arguments.explain:
                    print(f"quality map: {arguments.quality_map}")
    if arguments.report:
        write_scores(arguments.report, everything, about, ranked_among)
    return int(failed > 0)


def score_and_rank(score: float, rank: float | None, ranked_among: str) -> str:
    """The score, after which a script can stop reading, and what it means."""
    if rank is None:
        return f"{score:.6f}"
    return f"{score:.6f}  better than {100 * rank:.0f} % of {ranked_among}"


def explain(model: ARNIQA, image: Image.Image, crop_size: int) -> None:
    """Prints the scores of the five crops, whose mean is the image's."""
    crops = two_scale_crops(image, crop_size).transpose(0, 1).unsqueeze(2)  # as five images of one crop
    for name, score in zip(CROP_NAMES, score_crops(model, crops).tolist(), strict=True):
        print(f"{name}: {score:.6f}")


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = OneLineParser(
        description="Predicts the quality of images: from about 0 (bad) to 1 (good), on the scale of a dataset."
    )
    add = parser.add_argument
    add("--img_path", required=True, help="image file, folder (including subfolders) or quoted glob pattern")
    add("--regressor_dataset", default="kadid10k", help=f"one of {', '.join(RELEASED_SCORES)}, or your own dataset")
    add(
        "--eval_type",
        default="arniqa",
        choices=["arniqa", "scratch"],
        help="released weights (arniqa) or your own (scratch)",
    )
    add(
        "--experiment_name",
        help="folder in experiments/ with your weights (scratch) or your regressors for the released encoder (arniqa)",
    )
    add(
        "--weights_dir",
        type=file_path,
        help="folder with the released files or an export; default: ARNIQA_WEIGHTS_DIR, or download",
    )
    add(
        "--reference",
        type=file_path,
        help="reference image, of the same size; needs an experiment tested with --test.full_reference true",
    )
    add("--output", type=file_path, help="CSV file for the scores; continues an earlier run")
    add(
        "--report",
        type=file_path,
        help="HTML page for the images, sorted by score; with --output, for all in that file",
    )
    add("--quality_map", type=file_path, help="output file for a map of the local quality of one image")
    add(
        "--explain",
        action="store_true",
        help="also the scores of one image's five crops and its quality map (<name>_quality.png, or --quality_map)",
    )
    add(
        "--crop_size",
        type=integer(1, MAX_SIDE),
        help="side of the crops in pixels; default: that of the crops that the regressor was fitted on",
    )
    add(
        "--resize",
        type=integer(32, MAX_SIDE),
        help="resize images to this shorter side in pixels first; default: as the regressor's file says, else not",
    )
    add("--device", default="auto", help="auto (default), cpu (or -1), a GPU number, cuda or mps")
    add(
        "--precision",
        default="float32",
        choices=list(DTYPES),
        help="of the arithmetic: float32 (default); tf32 and float16 are faster on CUDA, bfloat16 on CPUs that have it",
    )
    add("--batch_size", type=integer(1, 100_000), default=4, help="images (ten crops each) per batch")
    add(
        "--num_workers",
        type=integer(0, 1000),
        default=0,
        help="processes that read images; 0: the main one",
    )
    arguments = parser.parse_args(argv)
    if arguments.eval_type == "scratch" and not arguments.experiment_name:
        raise UserError("--experiment_name: missing; --eval_type scratch needs the experiment with your weights")
    for option in OF_ONE_IMAGE:
        for other in ("output", "reference"):
            if getattr(arguments, option) and getattr(arguments, other):
                raise UserError(f"--{option}, --{other}: found both; use only one of them")
    if arguments.reference and not arguments.experiment_name:
        raise UserError(
            "--reference: the released regressors use none; give --experiment_name of an experiment that was tested "
            "with --test.full_reference true"
        )
    if not arguments.img_path.strip():
        raise UserError("--img_path: is empty; give an image file, a folder of images or a glob pattern in quotes")
    try:
        arguments.device = KEYS["device"].parse(arguments.device)
    except ValueError as error:
        allowed = KEYS["device"].describe()
        raise UserError(f"--device: found {arguments.device!r}, allowed: {allowed}") from error
    return arguments


def load_model(arguments: argparse.Namespace) -> tuple[ARNIQA, int, str]:
    """Returns the model on its device, the crop size, and a description of the weights."""
    name, folder = "released weights", None
    if arguments.experiment_name:
        experiment = Experiment.named(arguments.experiment_name)
        folder = experiment.of(arguments.eval_type).folder
        if not experiment.folder.is_dir():
            raise UserError(f"--experiment_name: {experiment.folder} not found; train the experiment first (main.py)")
        name = f"released encoder, {folder}" if arguments.eval_type == "arniqa" else str(folder)
    model = ARNIQA(arguments.regressor_dataset, arguments.weights_dir, folder, bool(arguments.reference))
    if folder is None and model.fitted_on is not None:  # exported to weights_dir
        name = f"encoder {model.fitted_on}"
    about = f"{name}, {arguments.regressor_dataset}"
    if model.fitted_on is not None:  # a later test may fit another one of the same name
        about += f" {regressor_hash(model.regressor, model.mos_range, model.mos_type)}"
    return model.to(resolve_device(arguments.device)), arguments.crop_size or model.crop_size, about


if __name__ == "__main__":
    run_command(main)
