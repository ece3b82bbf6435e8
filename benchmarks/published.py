"""Compares our scores with those of the published code, with the released weights.

    python -m benchmarks.published [IMAGES ...] [--repository OWNER/NAME] [--weights_dir FOLDER]

The published torch.hub model runs in a separate process, as in its README: on the whole image and its half-scale copy,
resized by torchvision. Ours is `model.score(path, crops="whole")`. The published code is downloaded and executed, and
both programs download the released weights. The exit code is 1 if a score differs by more than 0.001.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch

from benchmarks.harness import benchmark_parser
from models.arniqa import ARNIQA
from models.errors import UserError, escape_controls
from models.regressor import RELEASED_SCORES
from utils.command import run_command
from utils.config.command_line import nonempty_path
from utils.evaluation.inference import find_files
from utils.runtime.distributed import progress_bar

LIMIT = 1e-3
ROOT = Path(__file__).resolve().parents[1]
ASSETS = ROOT / "assets"
OURS = [str(ROOT / name) + os.sep for name in ("models", "data", "utils")]  # not the whole checkout: it may hold .venv
PROGRAM = """
import json, pathlib, sys
import torch
from PIL import Image
from torchvision.transforms import Compose, Normalize, Resize, ToTensor

repository, images, datasets, ours = json.load(sys.stdin)
source = "local" if pathlib.Path(repository).is_dir() else "github"
preprocess = Compose([ToTensor(), Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])])
for dataset in datasets:
    model = torch.hub.load(repository, "ARNIQA", source=source, trust_repo=True, regressor_dataset=dataset).eval()
    if any((getattr(module, "__file__", None) or "").startswith(tuple(ours)) for module in sys.modules.values()):
        sys.exit(f"it imported {ours[0]}, which is on Python's path")
    for image in images:
        full = Image.open(image).convert("RGB")
        half = Resize((full.height // 2, full.width // 2))(full)
        with torch.no_grad():
            score = model(preprocess(full)[None], preprocess(half)[None], return_embedding=False, scale_score=True)
        print("score", json.dumps([image, dataset, float(score)]), flush=True)
"""


Scores = dict[tuple[str, str], float]  # by image and regressor


def published_scores(repository: str, images: list[str], datasets: list[str]) -> Scores:
    """Computes the scores of the published code.

    Raises:
        UserError: the published code failed.
    """
    scores: Scores = {}
    # Runs in a separate folder, because the published code has packages with the same names as ours.
    with (
        tempfile.TemporaryDirectory() as folder,
        progress_bar("published", len(images) * len(datasets), 0, "score") as bar,
        tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as errors,
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM],
            cwd=folder,
            env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            encoding="utf-8",
        ) as process,
    ):
        assert process.stdin is not None and process.stdout is not None
        json.dump([repository, images, datasets, OURS], process.stdin)
        process.stdin.close()
        for line in process.stdout:
            if line.startswith("score "):
                image, dataset, score = json.loads(line.removeprefix("score "))
                scores[image, dataset] = score
                bar.update()
        if process.wait() != 0:
            errors.seek(0)
            reason = (errors.read().strip().splitlines() or ["no message"])[-1]
            raise UserError(f"{repository}: the published code ended with exit code {process.returncode} ({reason})")
    return scores


def our_scores(images: list[str], datasets: list[str], weights_dir: Path | None) -> Scores:
    """Computes the scores of this project."""
    scores: Scores = {}
    with progress_bar("ours", len(images) * len(datasets), 0, "score") as bar:
        for dataset in datasets:
            model = ARNIQA(dataset, weights_dir)
            for image in images:
                with torch.no_grad():
                    scores[image, dataset] = model.score(image, crops="whole").item()
                bar.update()
    return scores


def main() -> int:
    parser = benchmark_parser("benchmarks.published", __doc__)
    parser.add_argument("images", nargs="*", default=[str(ASSETS)], help="image files or folders (default: assets/)")
    parser.add_argument(
        "--repository",
        default="miccunifi/ARNIQA",
        help="GitHub repository or local folder of the published code (default: %(default)s)",
    )
    parser.add_argument("--weights_dir", type=nonempty_path, help="folder with the released files, for our scores")
    options = parser.parse_args()
    images = [str(path.resolve()) for pattern in options.images for path in find_files(pattern)]
    repository = options.repository
    if "/" in repository and Path(repository).is_dir():
        repository = str(Path(repository).resolve())
    elif not re.fullmatch(r"[\w.-]+/[\w.-]+(:[\w./-]+)?", repository):
        raise UserError(f"--repository: found {repository!r}; allowed: OWNER/NAME on GitHub, or the path of a folder")
    datasets = list(RELEASED_SCORES)
    ours = our_scores(images, datasets, options.weights_dir)
    print(f"running the published code of {repository}; the first run downloads it and its weights", file=sys.stderr)
    published = published_scores(repository, images, datasets)
    difference = {key: abs(published[key] - ours[key]) for key in ours}
    print(f"{'image':32} {'regressor':10} {'published':>10} {'ours':>10} {'difference':>10}")
    for key in ours:
        name, dataset = escape_controls(Path(key[0]).name), key[1]
        print(f"{name:32} {dataset:10} {published[key]:10.6f} {ours[key]:10.6f} {difference[key]:10.1e}")
    largest = np.max(list(difference.values()))  # NaN if one is NaN
    print(f"largest difference: {largest:.1e}, of {len(images)} images, {len(datasets)} regressors; limit {LIMIT:g}")
    return int(not largest <= LIMIT)


if __name__ == "__main__":
    run_command(main)
