"""Experiments of several kinds, without any training: what their folders would hold."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from models.experiment import Experiment
from utils.distortions import DISTORTIONS
from utils.evaluation.manifold import Manifold
from utils.evaluation.protocol import METRICS, DatasetResult, Prediction
from utils.evaluation.results import CrossResult, Results, write_results
from utils.metrics import all_metrics
from utils.report.pictures import save_pictures

LONG = "photographs_of_the_second_floor_of_the_old_library_2024_11_26_with_a_phone"


def training(experiment: Experiment, steps: int, validated: Sequence[int], dataset: str = "kadid10k") -> None:
    """A log of two epochs, with a validation after the steps `validated`, and the file of the best epoch."""
    rng = np.random.default_rng(0)
    rows = []
    for step in range(1, steps + 1):
        epoch = 2 * (step - 1) // steps
        row = {"step": step, "epoch": epoch}
        rows.append({**row, "loss": 4 * 0.99**step + rng.uniform(), "learning_rate": 1e-3, "images_per_second": 9.0})
        if step in validated:
            score = 0.5 + step / steps / 5
            rows.append({**row, "srocc": score, "plcc": score, f"{dataset}_srocc": score, f"{dataset}_plcc": score})
    experiment.folder.mkdir(parents=True, exist_ok=True)
    columns = ["step", "epoch", "loss", "learning_rate", "images_per_second", "srocc", "plcc"]
    columns += [f"{dataset}_srocc", f"{dataset}_plcc"]
    pd.DataFrame(rows).reindex(columns=columns).to_csv(experiment.metrics, index=False)
    experiment.config.write_text("seed: 27\ntraining: {epochs: 2}\n", encoding="utf-8")
    best = experiment.best_checkpoint(1, {"srocc": 0.7, "plcc": 0.7})
    best.parent.mkdir(exist_ok=True)
    best.touch()


def result(
    name: str, folder: Path, kinds: Sequence[str] = (), splits: int = 3, images: int = 150, seed: int = 0
) -> DatasetResult:
    """The result of a dataset with these types of distortion; a few of its images are files in `folder`."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    truth = rng.uniform(1, 5, 2 * images)
    files = [str(folder / f"image_{i:04d}_with_a_name_as_cameras_give.png") for i in range(2 * images)]
    types = [kinds[i % len(kinds)] if kinds else None for i in range(2 * images)]
    tested, scores = [], {group: {m: np.full(splits, np.nan) for m in METRICS} for group in ("global", *kinds)}
    for split in range(splits):
        rows = np.sort(rng.permutation(2 * images)[:images])
        predicted = 2 + 0.4 * truth[rows] + rng.normal(0, 0.6, images)
        part = {"split": split, "row": rows, "image": [Path(files[i]).name for i in rows], "reference": ""}
        tested.append(pd.DataFrame({**part, "prediction": predicted, "score": truth[rows]}))
        for group, of in scores.items():
            chosen = np.array([group in ("global", types[i]) for i in rows])
            for metric, value in all_metrics(predicted[chosen], truth[rows][chosen]).items():
                of[metric][split] = value
    first = tested[0]
    group_of = {kind: DISTORTIONS[kind].group if kind in DISTORTIONS else kind for kind in kinds}
    predictions = [
        Prediction(files[r], p, s, types[r], group_of.get(str(types[r])))
        for r, p, s in zip(first["row"], first["prediction"], first["score"], strict=True)
    ]
    for path in files[::2]:
        if not Path(path).exists():
            Image.new("RGB", (60, 40), (90, 140, 90)).save(path)
    grid = 0.6 - (np.linspace(-1, 1, 100) - rng.normal(0, 0.2, (splits, 1))) ** 2 / 4
    found = DatasetResult(name, 0.8, 1.0, grid, scores, predictions, [], bool(kinds), "shipped", "hash")
    found.score_kind = "pseudo" if kinds else "human"
    found.tested = pd.concat(tested, ignore_index=True)
    return found


def manifold(experiment: Experiment, images: int = 120) -> None:
    """manifold.json and its pictures, with t-SNE and UMAP of images of every type."""
    rng = np.random.default_rng(0)
    kinds = [list(DISTORTIONS)[i % len(DISTORTIONS)] for i in range(images)]
    points = {"t-SNE": rng.normal(size=(images, 2)).tolist(), "UMAP": rng.normal(size=(images, 3)).tolist()}
    names, groups = [f"I{i:02d}.png" for i in range(images)], [DISTORTIONS[kind].group for kind in kinds]
    levels, scores = [i % 5 + 1 for i in range(images)], rng.uniform(1, 5, images).tolist()
    found = Manifold("kadid10k", points, names, kinds, groups, levels, scores)
    found.save(experiment.manifold)
    save_pictures(found, experiment, "title")


def many_types(experiment: Experiment) -> None:
    """A training with several validations, a test on a dataset as KADID-10k, with an untrained encoder beside it."""
    training(experiment, 200, [100, 200])
    found = result("kadid10k", experiment.folder / "images", list(DISTORTIONS))
    before = {"kadid10k": result("kadid10k", experiment.folder / "images", list(DISTORTIONS), seed=1)}
    keys = [f"{name}_{key}" for name in ("type", "level") for key in ("accuracy", "low", "high", "chance")]
    figures = {"images": 600, **dict.fromkeys(("silhouette", *keys), 0.25)}
    separability = {"kadid10k": {"trained": figures, "untrained": figures}}
    write_results(Results([found], "0" * 16, untrained=before, separability=separability), experiment)
    manifold(experiment)


def no_types(experiment: Experiment) -> None:
    """A test of authentic images, after a training with one validation."""
    training(experiment, 40, [40], "clive")
    write_results(Results([result("clive", experiment.folder / "images", images=60)], "0" * 16), experiment)


def only_training(experiment: Experiment) -> None:
    training(experiment, 1, [])


def all_datasets(experiment: Experiment) -> None:
    """The released encoder on many datasets, one with a long name and types in many groups, and one that failed."""
    long_types = [f"a type of distortion with a long name, number {i}" for i in range(12)]
    names = ["live", "csiq", "tid2013", "kadid10k", "flive", "spaq", "koniq10k"]
    found = [result(name, experiment.folder / "images", images=30, splits=1) for name in names]
    found.append(result(LONG, experiment.folder / "images", long_types, images=60))
    cross = [CrossResult(a, b, 0.5, 0.5) for a in [*names, LONG] for b in [*names, LONG] if a != b]
    failures = {"clive": f"/data/{LONG}/CLIVE: no such folder; it must contain clive"}
    write_results(Results(found, "0" * 16, published=True, cross=cross, failures=failures), experiment)


EXAMPLES: tuple[Callable[[Experiment], None], ...] = (many_types, no_types, only_training, all_datasets)
