"""Scores an image, a folder of images, a glob pattern or a list: python single_image_inference.py --img_path PATH."""

import argparse
import sys
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path

import torch
from tqdm import tqdm

from models.arniqa import ARNIQA
from models.errors import UserError, escape_controls
from models.experiment import Experiment
from models.files import check_suffix, check_writable
from models.image_file import open_image
from models.multi_regressor import MultiRegressorARNIQA
from models.names import ALL
from models.preprocess import CROP_NAMES, Preprocessing, resize_shorter_side_bicubic
from models.regressor import MAX_SIDE, RELEASED_SCORES
from models.weights import release_order
from utils.command import output_dropped, run_command
from utils.config.command_line import OneLineParser, integer, nonempty_path
from utils.config.keys import KEYS
from utils.evaluation.inference import Score, find_files, open_list, score_images
from utils.evaluation.score_file import ScoreFile
from utils.report.figure_file import QUALITY_MAP, check_figure, save_quality_map
from utils.report.scores import check_report, write_scores
from utils.runtime.device import DTYPES, check_precision, precision_context, resolve_device, tune_malloc
from utils.runtime.distributed import check_same, is_rank0, process_group, raise_on_all_ranks, world_size

SCORED_BY = {  # keys: `ARNIQA.score_kind`
    "human": "according to its human ratings",
    "pseudo": "by their pseudo-scores, not human ones",
    "level": "by their level of degradation, not human scores",
    "unstated": "by their scores",
}
OF_ONE_IMAGE = ("explain", "quality_map")  # options for one image and one regressor


def main(argv: Sequence[str] | None = None) -> int:
    """Returns 0 if every image has a score, else 1."""
    tune_malloc()
    arguments = parse_arguments(argv)
    with process_group(resolve_device(arguments.device), "start it again to continue", "gloo") as device:
        with raise_on_all_ranks():
            images = images_to_score(arguments) if is_rank0() else ()
        model, model_name = load_model(arguments, device)
        check_same("model", model_name)
        with precision_context(arguments.precision, device):
            return score(arguments, images, model, model_name)


def images_to_score(arguments: argparse.Namespace) -> Iterable[Path]:
    """Returns the images, as a stream if they are in a list, after checking the output files."""
    images = open_list(arguments.img_list) if arguments.img_list else find_files(arguments.img_path)
    check_outputs(arguments, images if isinstance(images, list) else [])
    return images


def score(arguments: argparse.Namespace, images: Iterable[Path], model: MultiRegressorARNIQA, model_name: str) -> int:
    """Scores the images according to the arguments; returns the exit code of `main`."""
    options = (arguments.batch_size, arguments.num_workers, arguments.reference, arguments.crops)
    kinds = [SCORED_BY[one.score_kind] for one in model.models]
    count = len(images) if isinstance(images, list) else None
    everything: list[Score] = []
    failed = 0
    if arguments.output:
        with raise_on_all_ranks():
            file = ScoreFile(arguments.output, model_name, model.regressor_dataset) if is_rank0() else None
        if file is None:
            for _ in score_images(model, (), *options):
                pass  # rank 0 writes the scores
            return 0
        with file:
            with tqdm(total=count, unit="image", disable=None) as bar:
                for results in score_images(model, file.todo(images), *options):
                    file.add(results)
                    bar.update(file.skipped + file.added - bar.n)
                bar.update(file.skipped + file.added - bar.n)  # the last ones may have been scored before
            everything = file.results() if arguments.report else []
        print(f"{arguments.output}: {file.skipped + file.added} images, {file.failed} without a score")
        failed = file.failed
    else:
        for result in chain.from_iterable(score_images(model, images, *options)):
            failed += bool(result.error)
            if arguments.report or arguments.quality_map:
                everything.append(result)
            elif output_dropped():
                break  # nobody reads the scores
            print_score(result, count != 1, model.regressor_dataset, kinds)
    if arguments.report:
        write_scores(arguments.report, everything, model_name, model.regressor_dataset, kinds)
    if arguments.quality_map and not failed:
        explain(arguments, everything[0].path, model.models[0], everything[0].values[0])
    return int(failed > 0)


def print_score(result: Score, with_path: bool, datasets: Sequence[str], kinds: Sequence[str]) -> None:
    """Prints the scores and their percentiles, or the error.

    With one regressor the line starts with the score, so that scripts can parse it. With several, there is a line for
    each, which starts with the dataset, and one with the mean and the range of the percentiles.
    """
    if result.error:
        print(f"error: {escape_controls(result.error)}", file=sys.stderr)
        return
    lines = []
    for dataset, kind, value, percentile in zip(datasets, kinds, result.values, result.percentiles, strict=True):
        better = "" if percentile is None else f"  better than {percentile:.0f} % of {dataset}'s images, {kind}"
        lines.append((f"{dataset}: " if len(datasets) > 1 else "") + f"{value:.6f}{better}")
    known = len(datasets) - result.percentiles.count(None)
    if known > 1 and result.agreement:
        mean, low, high = result.agreement
        lines.append(f"agreement of {known} regressors: mean percentile {mean:.0f}, range {low:.0f} to {high:.0f}")
    prefix = f"{escape_controls(result.path)}: " if with_path else ""
    print("\n".join(prefix + line for line in lines), flush=True)


def explain(arguments: argparse.Namespace, path: Path, model: ARNIQA, score: float) -> None:
    """Draws the quality map of an image; with --explain also prints the scores of its five crops."""
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
        check_writable(arguments.output.parent)
    if arguments.report:
        check_report(arguments.report)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options. Rare cases are in docs/inference.md."""
    add = parser.add_argument
    images = parser.add_mutually_exclusive_group(required=True)
    images.add_argument("--img_path", help="image file, folder (including subfolders) or quoted glob pattern")
    images.add_argument(
        "--img_list", type=nonempty_path, help="text file with one image file a line; - for standard input"
    )
    datasets = f"one or more of {', '.join(RELEASED_SCORES)} and your own datasets; {ALL}: every regressor"
    add("--regressor_dataset", nargs="+", default=["kadid10k"], metavar="DATASET", help=datasets)
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
    crops = "five: mean over the centre and the four corners (default); whole: the whole image"
    add("--crops", default="five", choices=["five", "whole"], help=crops)
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
    check_combinations(arguments)
    if arguments.reference and not arguments.experiment_name:
        raise UserError(
            "--reference: the released regressors do not use a reference; set --experiment_name to an experiment "
            "tested with --test.full_reference true"
        )
    if arguments.img_path is not None and not arguments.img_path.strip():
        raise UserError("--img_path: is empty; give an image file, a folder of images or a glob pattern in quotes")
    try:
        arguments.device = KEYS["device"].parse(arguments.device)
    except ValueError as error:
        allowed = KEYS["device"].describe()
        raise UserError(f"--device: found {arguments.device!r}, allowed: {allowed}") from error
    return arguments


def check_combinations(arguments: argparse.Namespace) -> None:
    """Raises a UserError for options that exclude each other."""
    several = len(arguments.regressor_dataset) > 1 or ALL in arguments.regressor_dataset
    whole = ("--crops whole", arguments.crops == "whole")
    others = [(f"--{name}", getattr(arguments, name)) for name in ("output", "reference", "img_list")]
    others += [whole, ("several regressors", several)]
    excluded = [*((name, *other) for name in OF_ONE_IMAGE for other in others), ("crop_size", *whole)]
    for name, other, given in excluded:
        if given and getattr(arguments, name):
            raise UserError(f"--{name}, {other}: found both; use only one of them")
    if world_size() > 1 and not arguments.output:
        raise UserError(f"--output: missing; the scores of {world_size()} processes are written to a file")


def load_model(arguments: argparse.Namespace, device: torch.device) -> tuple[MultiRegressorARNIQA, str]:
    """Loads the model according to the arguments; also returns a description of all that its scores depend on."""
    name, folder = "released weights", None
    if arguments.experiment_name:
        experiment = Experiment.named(arguments.experiment_name)
        folder = experiment.of(arguments.eval_type).folder
        if not experiment.folder.is_dir():
            raise UserError(f"--experiment_name: {experiment.folder} not found; train the experiment first (main.py)")
        name = f"released encoder, {folder}" if arguments.eval_type == "arniqa" else str(folder)
    check_precision("--precision", arguments.precision, device)
    datasets = release_order(arguments.regressor_dataset)
    model = MultiRegressorARNIQA(datasets, arguments.weights_dir, folder, bool(arguments.reference)).to(device)
    if arguments.crop_size:
        model.crop_size = arguments.crop_size
    if arguments.resize:
        model.shorter_side = arguments.resize
    parts = []
    for one in model.models:
        if folder is None and one.fitted_on is not None:  # exported to weights_dir
            name = f"encoder {one.fitted_on}"
        # A later test may fit another regressor of the same name.
        parts.append(one.regressor_dataset + ("" if one.fitted_on is None else f" {one.regressor_hash}"))
    if is_rank0():
        print_notes(arguments, model)
    prepared = [describe(one.preprocessing(arguments.crops)) for one in model.models]
    suffix = prepared[:1]
    if len(set(prepared)) > 1:
        parts, suffix = [f"{part} ({how})" for part, how in zip(parts, prepared, strict=True)], []
    reference = [f"reference {arguments.reference}"] if arguments.reference else []
    precision = [] if arguments.precision == "float32" else [arguments.precision]
    return model, ", ".join([name, *parts, *reference, *suffix, *precision])


def describe(preprocessing: Preprocessing) -> str:
    """Describes a preprocessing in the name of a model."""
    side, shorter = preprocessing
    crops = "whole images" if side is None else f"crops of {side}"
    return crops + (f", shorter side of {shorter}" if shorter else "")


def print_notes(arguments: argparse.Namespace, model: MultiRegressorARNIQA) -> None:
    """Prints how the images are prepared in another way than in the fit of a regressor."""
    for precision in sorted({one.precision for one in model.models} - {arguments.precision}):
        names = ", ".join(one.regressor_dataset for one in model.models if one.precision == precision)
        fitted = f"{names}: fitted on features in {precision}"
        print(f"{fitted}; these are in {arguments.precision} (--precision)", file=sys.stderr)
    spaq = any(one.regressor_dataset == "spaq" and one.fitted_on is None for one in model.models)
    if spaq and not arguments.resize:
        print(
            "the released regressor of spaq was fitted on images with a shorter side of 512 pixels; images are not "
            "resized, as published (--resize 512 resizes them)",
            file=sys.stderr,
        )


if __name__ == "__main__":
    run_command(main)
