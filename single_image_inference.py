"""Scores an image, or every image of a folder: python single_image_inference.py --img_path PATH."""

import argparse
import csv
import io
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from tqdm import tqdm

from models.arniqa import ARNIQA
from models.errors import WeightsError
from models.weights import RELEASED_SCORES
from utils.allocator import keep_freed_memory
from utils.config import load_config, resolve_device
from utils.errors import UserError, run_command
from utils.experiment import experiment_folder
from utils.image import open_image
from utils.inference import Score, find_images, score_images
from utils.quality_map import local_scores, save_quality_map

COLUMNS = ["image", "score", "error", "model"]


def main(argv: Sequence[str] | None = None) -> int:
    """Returns 0 if every image has a score, else 1."""
    keep_freed_memory()
    arguments = parse_arguments(argv)
    paths = find_images(arguments.img_path)
    if arguments.quality_map and len(paths) > 1:
        raise UserError(f"--quality_map: {arguments.img_path} has {len(paths)} images; give one image file")
    model, crop_size, about = load_model(arguments)
    options = {
        "crop_size": crop_size,
        "batch_size": arguments.batch_size,
        "num_workers": arguments.num_workers,
    }
    if arguments.output:
        return write_scores(model, paths, arguments.output, f"{about}, crops of {crop_size}", options)
    failed = 0
    for result in score_images(model, paths, **options):
        if result.value is None:
            failed += 1
            print(f"error: {result.error}", file=sys.stderr)
        else:
            print(f"{result.path}: {result.value:.6f}" if len(paths) > 1 else f"{result.value:.6f}")
            if arguments.quality_map:
                image = open_image(result.path)
                save_quality_map(arguments.quality_map, image, local_scores(model, image, crop_size), result.value)
    return int(failed > 0)


def parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Prints the quality of images: about 0 (bad) to 1 (good), as the dataset's raters would."
    )
    add = parser.add_argument
    add("--img_path", required=True, help="an image, a folder (with its subfolders) or a glob in quotes")
    add("--regressor_dataset", default="kadid10k", help=f"one of {', '.join(RELEASED_SCORES)}, or your own")
    add("--eval_type", default="arniqa", choices=["arniqa", "scratch"], help="released or own weights")
    add("--experiment_name", help="in experiments/: your own weights (scratch) or regressors on the released encoder")
    add("--weights_dir", help="folder with the released files; default ARNIQA_WEIGHTS_DIR, else fetched")
    add("--output", type=Path, help="CSV file for the scores; goes on where an earlier run stopped")
    add("--quality_map", type=Path, help="picture of the local quality of one image")
    add("--crop_size", type=positive, help="of the crops; default 224, or the experiment's test.crop_size")
    add("--device", help="-1 or cpu, a GPU number, cuda or mps; default: a GPU where there is one")
    add("--batch_size", type=positive, default=4, help="images (ten crops each) that are scored together")
    add("--num_workers", type=int, default=0, help="processes that read images; 0 reads in the main one")
    arguments = parser.parse_args(argv)
    if arguments.eval_type == "scratch" and not arguments.experiment_name:
        raise UserError("--experiment_name: missing; --eval_type scratch takes the weights of that experiment")
    if arguments.output and arguments.quality_map:
        raise UserError("--output and --quality_map: give one of them")
    return arguments


def positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"found {number}, expected at least 1")
    return number


def load_model(arguments: argparse.Namespace) -> tuple[ARNIQA, int, str]:
    """The model on its device, the side of the crops, and whose weights they are."""
    name, crop_size, use_norm, experiment = "released weights", 224, True, None
    if arguments.experiment_name:
        experiment = experiment_folder(arguments.experiment_name)
        if not experiment.is_dir():
            raise UserError(f"--experiment_name: there is no folder {experiment}; train it first (main.py)")
    if experiment is not None and arguments.eval_type == "arniqa":
        experiment /= "arniqa"
        name = f"released encoder, {experiment}"
    elif experiment is not None:
        config = load_config(experiment / "config.yaml")
        name, crop_size, use_norm = str(experiment), config.test.crop_size, config.model.encoder.use_norm
    if arguments.device is None:
        device = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
        device = device or torch.device("cpu")
    else:
        number = arguments.device.lstrip("-").isdigit()
        device = resolve_device(int(arguments.device) if number else arguments.device)
    try:
        model = ARNIQA(arguments.regressor_dataset, arguments.weights_dir, experiment, use_norm)
    except WeightsError as error:
        raise UserError(str(error)) from error
    return model.to(device), arguments.crop_size or crop_size, f"{name}, {arguments.regressor_dataset}"


def write_scores(model: ARNIQA, paths: Sequence[Path], output: Path, about: str, options: dict[str, int]) -> int:
    """Appends a row per image to the CSV file as the scores come; an image that has a score there is left out."""
    try:
        done = scored_before(output, about, paths)
        output.parent.mkdir(parents=True, exist_ok=True)
        with output.open("a", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            if output.stat().st_size == 0:
                writer.writerow(COLUMNS)
            todo = [path for path in paths if str(path) not in done]
            failed = 0
            for result in tqdm(score_images(model, todo, **options), total=len(todo), unit="image", disable=None):
                failed += result.value is None
                writer.writerow(row(result, about))
                file.flush()
    except OSError as error:
        raise UserError(f"{output}: cannot be read or written ({error.strerror})") from error
    print(f"{output}: {len(paths)} images, {failed} without a score")
    return int(failed > 0)


def row(result: Score, about: str) -> list[str]:
    return [str(result.path), "" if result.value is None else f"{result.value:.6f}", result.error, about]


def scored_before(output: Path, about: str, paths: Sequence[Path]) -> set[str]:
    """The images that have a row in the file and are not to be scored again.

    Removed from the file are a row that a kill cut short and the errors of `paths`, which are tried again.

    Raises:
        UserError: the file is something else, or holds scores of another model.
    """
    if not output.exists():
        return set()
    content = output.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    text = io.StringIO(whole.decode("utf-8", errors="replace"), newline="")
    lines = list(csv.reader(text))
    if content and (not lines or lines[0] != COLUMNS or any(len(line) != len(COLUMNS) for line in lines)):
        raise UserError(f"{output}: not a file of scores ({','.join(COLUMNS)}); give another --output")
    others = {line[3] for line in lines[1:]} - {about}
    if others:
        raise UserError(f"{output}: has scores of {others.pop()}, not of {about}; give another --output")
    header, rows = lines[:1], lines[1:]
    again = {str(path) for path in paths}
    kept = [line for line in rows if not line[2] or line[0] not in again]
    if whole != content or len(kept) < len(rows):
        file = io.StringIO(newline="")
        csv.writer(file).writerows([*header, *kept])
        partial = output.with_name(f"{output.name}.partial")
        partial.write_text(file.getvalue(), encoding="utf-8", newline="")
        partial.replace(output)
    return {line[0] for line in kept}


if __name__ == "__main__":
    run_command(main)
