"""Scores an image, a folder of images or a glob pattern: python single_image_inference.py --img_path PATH."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from models.arniqa import ARNIQA
from models.errors import UserError, escape_controls
from models.experiment import Experiment
from models.files import check_suffix
from models.image_file import open_image
from models.preprocess import CROP_NAMES, resize_shorter_side_bicubic
from models.regressor import MAX_SIDE, RELEASED_SCORES
from utils.command import output_dropped, run_command
from utils.config.command_line import OneLineParser, integer, nonempty_path
from utils.config.keys import KEYS
from utils.evaluation.inference import Score, find_files, score_images
from utils.evaluation.score_file import ScoreFile
from utils.report.figure_file import QUALITY_MAP, check_figure, save_quality_map
from utils.report.scores import check_report, write_scores
from utils.runtime.device import DTYPES, check_precision, precision_context, resolve_device, tune_malloc

SCORED_BY = {  # keys: `ARNIQA.score_kind`
    "human": "according to its human ratings",
    "pseudo": "by their pseudo-scores, not human ones",
    "level": "by their level of degradation, not human scores",
    "unstated": "by their scores",
}
OF_ONE_IMAGE = ("explain", "quality_map")  # options for a single image, incompatible with --output and --reference


def main(argv: Sequence[str] | None = None) -> int:
    """Returns 0 if every image has a score, else 1."""
    tune_malloc()
    arguments = parse_arguments(argv)
    paths = find_files(arguments.img_path)
    check_outputs(arguments, paths)
    model, model_name = load_model(arguments)
    with precision_context(arguments.precision, model.regressor.weight.device):
        return score(arguments, paths, model, model_name)


def score(arguments: argparse.Namespace, paths: list[Path], model: ARNIQA, model_name: str) -> int:
    """Scores the images according to the arguments; returns the exit code of `main`."""
    options = (arguments.batch_size, arguments.num_workers, arguments.reference)
    compared_with = f"{model.regressor_dataset}'s images, {SCORED_BY[model.score_kind]}"
    if arguments.output:
        with ScoreFile(arguments.output, model_name, paths) as file:
            results = score_images(model, file.todo, *options)
            for result in tqdm(results, total=len(file.todo), unit="image", disable=None):
                file.add(result)
            everything = file.results() if arguments.report else []
        print(f"{arguments.output}: {len(paths)} images, {file.failed} without a score")
        failed = file.failed
    else:
        everything = []
        for result in score_images(model, paths, *options):
            everything.append(result)
            if output_dropped() and not arguments.report:
                break  # nobody reads the scores
            print_score(result, len(paths) > 1, compared_with)
        failed = sum(result.value is None for result in everything)
    if arguments.report:
        write_scores(arguments.report, everything, model_name, compared_with)
    if arguments.quality_map and not failed:
        explain(arguments, paths[0], model, everything[0].value)
    return int(failed > 0)


def print_score(result: Score, with_path: bool, compared_with: str) -> None:
    """Prints the score and its percentile, or the error. The score comes first, so that scripts can parse it."""
    if result.value is None:
        print(f"error: {escape_controls(result.error)}", file=sys.stderr)
        return
    text = f"{result.value:.6f}"
    if result.percentile is not None:
        text += f"  better than {result.percentile:.0f} % of {compared_with}"
    print(f"{escape_controls(result.path)}: {text}" if with_path else text, flush=True)


def explain(arguments: argparse.Namespace, path: Path, model: ARNIQA, score: float | None) -> None:
    """Draws the quality map of an image; with --explain also prints the scores of its five crops."""
    assert score is not None
    image = open_image(path)
    if arguments.explain:
        for name, crop in zip(CROP_NAMES, model.crop_scores(image).tolist(), strict=True):
            print(f"{name}: {crop:.6f}")
    shown = resize_shorter_side_bicubic(image, model.shorter_side)
    save_quality_map(arguments.quality_map, shown, model.quality_map(image).numpy(), score)
    if arguments.explain:
        print(f"quality map: {arguments.quality_map}")


def check_outputs(arguments: argparse.Namespace, paths: list[Path]) -> None:
    """Checks the output files before anything is computed, and sets the default file of --explain.

    Raises:
        UserError: a file cannot be written, or an option for a single image is used with several.
    """
    for option in OF_ONE_IMAGE:
        if getattr(arguments, option) and len(paths) > 1:
            raise UserError(f"--{option}: found {len(paths)} images; set --img_path to one image file")
    if arguments.explain and not arguments.quality_map:
        arguments.quality_map = Path(f"{paths[0].stem}_quality.png")
    if arguments.quality_map:
        check_figure("--quality_map", arguments.quality_map, QUALITY_MAP)
    if arguments.output:  # `ScoreFile` checks its content
        check_suffix("--output", arguments.output, (".csv",))
    if arguments.report:
        check_report(arguments.report)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options. Rare cases are in docs/inference.md."""
    add = parser.add_argument
    add("--img_path", required=True, help="image file, folder (including subfolders) or quoted glob pattern")
    add("--regressor_dataset", default="kadid10k", help=f"one of {', '.join(RELEASED_SCORES)}, or your own dataset")
    add("--eval_type", default="arniqa", choices=["arniqa", "scratch"], help="released weights (arniqa) or your own")
    add("--experiment_name", help="folder in experiments/ with your weights, or your regressors for released weights")
    weights = "folder with the released files or an export; default: ARNIQA_WEIGHTS_DIR, or download"
    add("--weights_dir", type=nonempty_path, help=weights)
    reference = "reference image of the same size; needs an experiment tested with --test.full_reference true"
    add("--reference", type=nonempty_path, help=reference)
    add("--output", type=nonempty_path, help="CSV file for the scores; continues an earlier run")
    add("--report", type=nonempty_path, help="HTML page of the images, sorted by score; of all images in --output")
    add("--quality_map", type=nonempty_path, help="output file for a map of the local quality of one image")
    add("--explain", action="store_true", help="also print the scores of one image's five crops; save its quality map")
    add("--crop_size", type=integer(1, MAX_SIDE), help="side of the crops in pixels; default: as in the regressor")
    add("--resize", type=integer(32, MAX_SIDE), help="shorter side to resize images to; default: as in the regressor")
    add("--device", default="auto", help="auto (default), cpu (or -1), a GPU number, cuda or mps")
    precision = "float32 (default); tf32 and float16 are faster on CUDA, bfloat16 on CPUs that support it"
    add("--precision", default="float32", choices=list(DTYPES), help=precision)
    add("--batch_size", type=integer(1, 100_000), default=4, help="images (ten crops each) per batch")
    add("--num_workers", type=integer(0, 1000), default=0, help="processes that read images; 0: the main process")


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = OneLineParser(
        description="Predicts the quality of images: from about 0 (bad) to 1 (good), on the scale of a dataset."
    )
    add_options(parser)
    arguments = parser.parse_args(argv)
    if arguments.eval_type == "scratch" and not arguments.experiment_name:
        raise UserError("--experiment_name: missing; --eval_type scratch needs the experiment with your weights")
    for option in OF_ONE_IMAGE:
        for other in ("output", "reference"):
            if getattr(arguments, option) and getattr(arguments, other):
                raise UserError(f"--{option}, --{other}: found both; use only one of them")
    if arguments.reference and not arguments.experiment_name:
        raise UserError(
            "--reference: the released regressors do not use a reference; set --experiment_name to an experiment "
            "tested with --test.full_reference true"
        )
    if not arguments.img_path.strip():
        raise UserError("--img_path: is empty; give an image file, a folder of images or a glob pattern in quotes")
    try:
        arguments.device = KEYS["device"].parse(arguments.device)
    except ValueError as error:
        allowed = KEYS["device"].describe()
        raise UserError(f"--device: found {arguments.device!r}, allowed: {allowed}") from error
    return arguments


def load_model(arguments: argparse.Namespace) -> tuple[ARNIQA, str]:
    """Loads the model according to the arguments; also returns a description of all that its scores depend on."""
    name, folder = "released weights", None
    if arguments.experiment_name:
        experiment = Experiment.named(arguments.experiment_name)
        folder = experiment.of(arguments.eval_type).folder
        if not experiment.folder.is_dir():
            raise UserError(f"--experiment_name: {experiment.folder} not found; train the experiment first (main.py)")
        name = f"released encoder, {folder}" if arguments.eval_type == "arniqa" else str(folder)
    device = resolve_device(arguments.device)
    check_precision("--precision", arguments.precision, device)
    model = ARNIQA(arguments.regressor_dataset, arguments.weights_dir, folder, bool(arguments.reference)).to(device)
    if folder is None and model.fitted_on is not None:  # exported to weights_dir
        name = f"encoder {model.fitted_on}"
    if arguments.precision != model.precision:
        fitted_in = f"the regressor was fitted on features in {model.precision}"
        print(f"{fitted_in}; these are in {arguments.precision} (--precision)", file=sys.stderr)
    if arguments.regressor_dataset == "spaq" and model.fitted_on is None and not arguments.resize:
        print(
            "the released regressor of spaq was fitted on images with a shorter side of 512 pixels; images are not "
            "resized, as published (--resize 512 resizes them)",
            file=sys.stderr,
        )
    model.crop_size = arguments.crop_size or model.crop_size
    model.shorter_side = arguments.resize or model.shorter_side
    model_name = f"{name}, {arguments.regressor_dataset}"
    if model.fitted_on is not None:  # a later test may fit another regressor of the same name
        model_name += f" {model.regressor_hash}"
    if arguments.reference:
        model_name += f", reference {arguments.reference}"
    model_name += f", crops of {model.crop_size}" + (
        f", shorter side of {model.shorter_side}" if model.shorter_side else ""
    )
    return model, model_name + ("" if arguments.precision == "float32" else f", {arguments.precision}")


if __name__ == "__main__":
    run_command(main)
