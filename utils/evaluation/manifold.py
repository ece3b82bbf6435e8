"""The distortion manifold: projections of embeddings to 2 or 3 dimensions, and measures of their separability."""

import json
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.files import parsing, write_text
from utils.config.keys import VisualizationSection
from utils.evaluation.bootstrap import share_interval
from utils.evaluation.dataset import ScoredDataset

Floats = NDArray[np.floating]
MIN_IMAGES = 10
PREFERRED = "kadid10k"


@dataclass(frozen=True)
class Manifold:
    """Images of one dataset and their projected positions.

    Attributes:
        dataset: name of the dataset.
        points: method ("t-SNE", "UMAP") -> a row of 2 or 3 coordinates per image.
        names: file name of each image.
        types, groups, levels: distortion type, group and level of each image.
        scores: MOS of each image.
    """

    dataset: str
    points: dict[str, list[list[float]]]
    names: list[str]
    types: list[str]
    groups: list[str]
    levels: list[int]
    scores: list[float]

    @classmethod
    def load(cls, path: Path) -> "Manifold":
        """Reads a file written by `save`.

        Raises:
            UserError: the file is missing or damaged.
        """
        with parsing(path, "as it is written here", "run the test again, or delete the file"):
            return cls(**json.loads(path.read_text(encoding="utf-8")))

    def save(self, path: Path) -> None:
        """Writes the manifold as JSON.

        Raises:
            UserError: the file cannot be written.
        """
        write_text(path, json.dumps(asdict(self), ensure_ascii=False))


def to_draw(names: Sequence[str]) -> str | None:
    """Returns the dataset to draw: kadid10k if listed, else the first one; None for an empty list."""
    return PREFERRED if PREFERRED in names else next(iter(names), None)


def is_degraded(dataset: ScoredDataset) -> bool:
    """Whether each image has a reference, a type and a level of distortion."""
    return None not in (dataset.ref_images, dataset.distortion_types, dataset.distortion_levels)


def manifold_images(dataset: ScoredDataset) -> NDArray[np.int64]:
    """Returns the indices of the images to draw: the first split's validation images.

    Returns:
        The indices; an empty array if the dataset has no types and levels, or if there are fewer than ten images.
    """
    images = dataset.get_split_indices(0, "val")
    return images if is_degraded(dataset) and len(images) >= MIN_IMAGES else images[:0]


def manifold_embeddings(features: Floats, dataset: ScoredDataset) -> Floats:
    """Returns the full-scale features of the centre crops of `manifold_images`, as in the published manifold.

    Args:
        features: (N, 5, 2d) features of all images; crop 0 is the centre, the first d values are at full scale.

    Returns:
        (n, d) array.
    """
    return features[manifold_images(dataset), 0, : features.shape[2] // 2]


def make_manifold(embeddings: Floats, dataset: ScoredDataset, settings: VisualizationSection, seed: int) -> Manifold:
    """Projects images by t-SNE, and by UMAP if it is installed.

    Args:
        embeddings: (n, d) array, see `manifold_embeddings`.
        dataset: dataset of the images.
        settings: parameters of t-SNE and UMAP.
        seed: random seed of both.
    """
    assert dataset.distortion_types and dataset.distortion_groups and dataset.distortion_levels
    images = manifold_images(dataset)
    points = {"t-SNE": project_tsne(embeddings, settings, seed), "UMAP": project_umap(embeddings, settings, seed)}
    return Manifold(
        dataset.name,
        {method: np.asarray(p, np.float64).round(4).tolist() for method, p in points.items() if p is not None},
        [dataset.images[i].name for i in images],
        [dataset.distortion_types[i] for i in images],
        [dataset.distortion_groups[i] for i in images],
        [dataset.distortion_levels[i] for i in images],
        [float(dataset.mos[i]) for i in images],
    )


def project_tsne(embeddings: Floats, settings: VisualizationSection, seed: int) -> Floats:
    """Projects (n, d) -> (n, 2 or 3) by t-SNE. The perplexity is at most (n - 1) / 3, the maximum for n images."""
    from sklearn.manifold import TSNE  # slow import (one second), only needed for a manifold

    tsne = settings.tsne
    perplexity = min(tsne.perplexity, (len(embeddings) - 1) / 3)
    model = TSNE(tsne.n_components, perplexity=perplexity, max_iter=tsne.n_iter, init="pca", random_state=seed)
    return model.fit_transform(embeddings)


def project_umap(embeddings: Floats, settings: VisualizationSection, seed: int) -> Floats | None:
    """Projects (n, d) -> (n, 2 or 3) by UMAP; None if the optional package umap-learn is not installed."""
    try:
        from umap import UMAP
    except ImportError:
        return None
    options = asdict(settings.umap)
    options["n_neighbors"] = min(options["n_neighbors"], len(embeddings) - 1)
    model = UMAP(**options, random_state=seed)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="n_jobs value")  # a seed allows one job
        return model.fit_transform(embeddings)


def separability(features: Floats, dataset: ScoredDataset) -> dict[str, float]:
    """Measures how well the embeddings of a dataset's centre crops separate distortions, across image contents.

    Args:
        features: (N, 5, d) features; crop 0 is the centre.
        dataset: dataset of the N images.

    Returns:
        `silhouette`: silhouette of the distortion groups, in [-1, 1]; NaN with fewer than two groups.
        `images`: N.
        `type_accuracy`, `level_accuracy`: nearest-neighbour accuracy across references, the proportion of images whose
        nearest neighbour among images of *other* references has the same type (level) of distortion.
        `type_low`, `type_high`, `level_low`, `level_high`: its 95 % confidence interval from bootstrap resamples of the
        references, with unchanged neighbours. Accuracies and intervals are NaN with a single reference.
        `type_chance`, `level_chance`: accuracy of a random neighbour.

    Raises:
        ValueError: the dataset's images have no types and levels.
    """
    from sklearn.metrics import pairwise_distances_chunked, silhouette_score

    if not is_degraded(dataset) or dataset.distortion_groups is None:
        raise ValueError(f"{dataset.name} has no types and levels of distortion")
    centre = np.asarray(features[:, 0], np.float32)
    references = np.unique(np.asarray(dataset.ref_images), return_inverse=True)[1]
    groups, types, levels = (
        np.unique(np.asarray(values), return_inverse=True)[1]
        for values in (dataset.distortion_groups, dataset.distortion_types, dataset.distortion_levels)
    )

    def nearest(distances: Floats, start: int) -> NDArray[np.int64]:
        distances[references[start : start + len(distances), None] == references] = np.inf
        return distances.argmin(axis=1)

    neighbour = np.concatenate(list(pairwise_distances_chunked(centre, reduce_func=nearest)))
    figures: dict[str, float] = {"images": len(centre)}
    figures["silhouette"] = float(silhouette_score(centre, groups)) if groups.max() > 0 else float("nan")
    for name, values in (("type", types), ("level", levels)):
        same = values == values[neighbour]
        figures[f"{name}_accuracy"] = float(same.mean()) if references.max() > 0 else float("nan")
        figures[f"{name}_low"], figures[f"{name}_high"] = share_interval(same, references)
        figures[f"{name}_chance"] = float(((np.bincount(values) / len(values)) ** 2).sum())
    return figures
