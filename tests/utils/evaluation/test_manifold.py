from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.spatial.distance import cdist

from models.experiment import Experiment
from utils.config.keys import TsneSection, UmapSection, VisualizationSection
from utils.evaluation.bootstrap import share_interval
from utils.evaluation.manifold import (
    Manifold,
    is_degraded,
    make_manifold,
    manifold_embeddings,
    manifold_images,
    project_umap,
    separability,
    to_draw,
)
from utils.report.pictures import save_pictures

FLAT = VisualizationSection(tsne=TsneSection(n_components=2, n_iter=300), umap=UmapSection(n_components=2))


class Degraded:
    """A dataset with 4 references x 3 types (in 2 groups) x 5 levels, and embeddings of these attributes."""

    name = "kadid10k"

    def __init__(self) -> None:
        rows = [(r, t, level) for r in range(4) for t in range(3) for level in range(1, 6)]
        self.references, self.types, self.levels = (np.array(column) for column in zip(*rows, strict=True))
        self.images = [Path(f"{i}.png") for i in range(len(rows))]
        self.mos = np.linspace(1, 5, len(rows))
        self.ref_images: list[str] | None = [f"I{r}" for r in self.references]
        self.distortion_types: list[str] | None = [f"type{t}" for t in self.types]
        self.distortion_groups: list[str] | None = ["a" if t == 0 else "b" for t in self.types]
        self.distortion_levels: list[int] | None = self.levels.tolist()

    def get_split_indices(self, split: int, phase: str) -> np.ndarray:
        assert (split, phase) == (0, "val")
        return np.arange(30)

    def embed(self, *shown: np.ndarray, noise: float = 0.01) -> np.ndarray:
        """Embeddings whose centre crop has the values in one-hot encoding, plus noise. The other crops are random."""
        parts = [np.eye(values.max() + 1)[values] for values in shown]
        centre = np.concatenate(parts, axis=1)
        centre = centre + noise * np.random.default_rng(0).standard_normal(centre.shape)
        others = np.random.default_rng(1).standard_normal((len(centre), 4, centre.shape[1]))
        return np.concatenate([centre[:, None], others], axis=1).astype(np.float32)


def test_separability_is_high_for_distortions_and_low_for_content() -> None:
    dataset = Degraded()
    of_distortion = separability(dataset.embed(dataset.types, dataset.levels), dataset)
    assert of_distortion["type_accuracy"] == of_distortion["level_accuracy"] == 1
    assert (of_distortion["type_chance"], of_distortion["level_chance"]) == pytest.approx((1 / 3, 1 / 5))
    of_content = separability(dataset.embed(dataset.references), dataset)
    assert of_content["type_accuracy"] < 0.6 and of_content["silhouette"] < 0.1


def test_separability_follows_its_definition() -> None:
    dataset = Degraded()
    features = dataset.embed(dataset.types, dataset.levels, dataset.references, noise=0.5)
    found = separability(features, dataset)
    distances = cdist(features[:, 0].astype(np.float64), features[:, 0].astype(np.float64))
    others = np.where(dataset.references[:, None] == dataset.references, np.inf, distances).argmin(1)
    same = (dataset.types[others] == dataset.types).mean()
    assert found["type_accuracy"] == pytest.approx(same) and found["images"] == len(dataset.types)
    for name, values in (("type", dataset.types), ("level", dataset.levels)):
        ends = share_interval(values[others] == values, dataset.references)
        assert (found[f"{name}_low"], found[f"{name}_high"]) == ends
        assert ends[0] < found[f"{name}_accuracy"] < ends[1]
    groups = np.array(dataset.distortion_groups)
    widths = []
    for i, group in enumerate(groups):
        inside = distances[i, (groups == group) & (np.arange(len(groups)) != i)].mean()
        outside = distances[i, groups != group].mean()
        widths.append((outside - inside) / max(inside, outside))
    assert found["silhouette"] == pytest.approx(np.mean(widths), abs=1e-4)


def test_one_reference_has_no_neighbours_among_others() -> None:
    dataset = Degraded()
    dataset.ref_images = ["I0"] * len(dataset.types)
    found = separability(dataset.embed(dataset.types), dataset)
    assert all(np.isnan(found[f"{name}_{key}"]) for name in ("type", "level") for key in ("accuracy", "low", "high"))


@pytest.mark.parametrize("components", [2, 3])
def test_the_manifold_keeps_neighbours(components: int) -> None:
    dataset = Degraded()
    settings = VisualizationSection(tsne=TsneSection(n_components=components, n_iter=300))
    full, half = dataset.embed(dataset.types), 10 * dataset.embed(dataset.references)[..., :3]
    embeddings = manifold_embeddings(np.concatenate([full, half], axis=2), dataset)
    np.testing.assert_array_equal(embeddings, full[:30, 0])  # half scale would hide the types
    manifold = make_manifold(embeddings, dataset, settings, seed=0)
    points = np.array(manifold.points["t-SNE"])
    assert points.shape == (30, components)
    assert manifold.names[:2] == ["0.png", "1.png"] and manifold.levels[:5] == [1, 2, 3, 4, 5]
    # A 3-D t-SNE of 30 points is not very accurate. By chance, a third of the neighbours would have the same type.
    nearest = (cdist(points, points) + np.diag(np.full(30, np.inf))).argmin(1)
    assert (dataset.types[:30][nearest] == dataset.types[:30]).mean() > 0.6
    assert make_manifold(embeddings, dataset, settings, seed=0).points["t-SNE"] == manifold.points["t-SNE"]


def test_umap_if_it_is_installed() -> None:
    pytest.importorskip("umap", reason="the optional package umap-learn is not installed")
    dataset = Degraded()
    points = project_umap(dataset.embed(dataset.types)[:, 0], FLAT, seed=0)
    assert points is not None and points.shape == (60, 2) and np.isfinite(points).all()


def test_a_dataset_without_types_has_no_manifold() -> None:
    dataset = Degraded()
    features = dataset.embed(dataset.types)
    dataset.distortion_types = None
    assert not is_degraded(dataset) and len(manifold_images(dataset)) == 0
    with pytest.raises(ValueError, match="no types"):
        separability(features, dataset)


def test_kadid10k_is_drawn_if_it_is_in_the_list() -> None:
    assert to_draw(["live", "kadid10k"]) == "kadid10k"
    assert to_draw(["mine", "live"]) == "mine"
    assert to_draw([]) is None


def test_pictures_show_the_points(tmp_path: Path) -> None:
    points = {"t-SNE": [[0.0, 0.0], [1.0, 1.0], [2.0, 0.5]], "UMAP": np.eye(3).tolist()}
    manifold = Manifold("set", points, ["a", "b", "c"], ["blur"] * 3, ["g", "g", "h"], [1, 3, 5], [1.0, 2.0, 3.0])
    save_pictures(manifold, Experiment(tmp_path, "title"), "title")
    files = sorted(path.name.removeprefix("manifold_") for path in tmp_path.iterdir())
    assert files == ["tsne_groups.png", "tsne_mos.png", "umap_groups.png", "umap_mos.png"]
    pixels = np.asarray(Image.open(tmp_path / "manifold_tsne_groups.png").convert("RGB")).reshape(-1, 3)
    for color, strength in (((31, 119, 180), 0.2), ((31, 119, 180), 0.6), ((255, 127, 14), 1.0)):
        expected = strength * np.array(color) + (1 - strength) * 255
        assert (np.abs(pixels - expected).max(axis=1) <= 2).any(), (color, strength)
