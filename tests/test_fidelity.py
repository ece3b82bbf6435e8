"""Measures the differences in docs/fidelity.md again and fails if one is larger than stated."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image

from data.kadis700 import half_scale_pixels_bicubic
from models.arniqa import ARNIQA
from models.inference_encoder import inference_encoder
from models.preprocess import center_corners_crop, half_scale_bicubic, normalize, to_pixels, to_tensor, two_scale_crops
from models.resnet import ResNet
from models.simclr import nt_xent_loss
from tests.golden import golden
from tests.markdown import table_rows
from tests.utils.distortions.test_parity import DETERMINISTIC, apply, overlapping_patches
from utils.distortions import DISTORTIONS, degrade
from utils.distortions.spatial_distortion import displaced_patches
from utils.evaluation.protocol import ALPHAS
from utils.metrics import srocc
from utils.regression import RidgePath, best_alpha
from utils.runtime.device import DTYPES

FIDELITY = Path(__file__).resolve().parents[1] / "docs" / "fidelity.md"
SAME = table_rows(FIDELITY, "The same")
DEVIATIONS = table_rows(FIDELITY, "Deviations, all on purpose")
OURS = table_rows(FIDELITY, "Deviations of ours")


def stated(cell: str) -> float:
    """The number at the beginning of a cell: 1/255, 2.3e-6 or 0."""
    found = re.match(r"(\d+)/(\d+)", cell)
    if found:
        return int(found[1]) / int(found[2])
    number = re.match(r"[\d.]+(e-?\d+)?", cell)
    assert number, cell
    return float(number[0])


def size_of(what: str) -> str:
    """The size of a deviation of ours."""
    (size,) = (row[3] for row in OURS if row[0].startswith(what))
    return size


def largest_of_types(cell: str) -> float:
    """Largest difference from the published outputs, over all levels of the types in a cell."""
    data = golden("distortions_deterministic.npz")
    image = torch.from_numpy(data["input"]).permute(2, 0, 1).float() / 255
    names = [name for name in re.findall(r"`(\w+)`", cell) if name in DETERMINISTIC]
    assert names
    keys = [key for key in data.files if key.split("/")[0] in names]
    return max(np.abs(apply(key, image).numpy() - data[key] / 65535).max() for key in keys)


def largest_of_crops(_: str) -> float:
    data = golden("crops.npz")
    largest = 0
    for key in (key for key in data.files if key.endswith("/input")):
        image, size = Image.fromarray(data[key]), key.removesuffix("/input")
        for name, scaled in (("crops", image), ("half_crops", half_scale_bicubic(image))):
            crops = np.stack([np.asarray(crop) for crop in center_corners_crop(scaled, 224)])
            largest = max(largest, int(np.abs(crops.astype(int) - data[f"{size}/{name}"]).max()))
    return largest


def largest_of_losses(_: str) -> float:
    data = golden("nt_xent.npz")
    errors = []
    for case in range(3):
        a, b = (torch.tensor(data[f"{case}/{name}"]) for name in "ab")
        expected = float(data[f"{case}/loss"])
        errors.append(abs(nt_xent_loss(a, b, float(data[f"{case}/tau"])).item() / expected - 1))
    return max(errors)


def largest_of_regressions(_: str) -> float:
    data = golden("evaluation.npz")
    features, scores = data["features"].reshape(len(data["scores"]), 5, -1), data["scores"]
    splits = list(zip(data["train"], data["val"], strict=True))
    path = RidgePath(features, scores)
    grid = np.array([srocc(path.predict(train, val, ALPHAS), scores[val]) for train, val in splits])
    alpha = best_alpha(grid, ALPHAS)
    coef, intercept = path.fit(np.arange(len(scores)), alpha)
    return max(
        abs(alpha / float(data["alpha"]) - 1),
        float(np.abs(coef - data["coef"]).max()),
        abs(intercept - float(data["intercept"])),
    )


MEASURED: dict[str, Callable[[str], float]] = {
    "`gaublur`": largest_of_types,
    "`colordiff`": largest_of_types,
    "`jpeg`": largest_of_types,
    "five crops": largest_of_crops,
    "NT-Xent loss": largest_of_losses,
    "alpha, SROCC": largest_of_regressions,
}


@pytest.mark.parametrize("start", MEASURED)
def test_differences_are_not_larger_than_stated(start: str) -> None:
    (row,) = (row for row in SAME if row[0].startswith(start))
    limit = stated(row[2])
    assert MEASURED[start](row[0]) <= limit * 1.05 + 1e-12, row


@pytest.mark.parametrize("name", ["chelsea", "rocket"])
def test_half_scale_training_images_differ_from_pillow_by_at_most_the_stated_amount(name: str) -> None:
    size = size_of("half-scale images")
    share, step = re.findall(r"([\d.]+) % of the values differ, by (1/255)", size)[0]
    photo = getattr(skimage.data, name)()
    ours = half_scale_pixels_bicubic(torch.from_numpy(photo).permute(2, 0, 1)).permute(1, 2, 0).numpy()
    difference = np.abs(ours.astype(int) - np.asarray(half_scale_bicubic(Image.fromarray(photo))))
    assert difference.max() / 255 <= stated(step)
    assert 0 < np.mean(difference > 0) <= float(share) / 100


def test_features_in_half_precision_move_by_at_most_the_stated_amount(encoder: ResNet) -> None:
    found = re.findall(r"([\d.]+) in (float16|bfloat16)", size_of("precision of the features"))
    photos = [Image.fromarray(getattr(skimage.data, name)()) for name in ("astronaut", "chelsea", "coffee", "rocket")]
    crops = normalize(torch.stack([to_pixels(center_corners_crop(photo, 224)[0]) for photo in photos]))
    folded = inference_encoder(encoder)
    with torch.inference_mode():
        expected = encoder.features(crops)
        for limit, name in found:
            with torch.autocast("cpu", DTYPES[name]):
                moved = (folded.features(crops).float() - expected).norm(dim=1).max().item()
            assert 0.5 * float(limit) < moved <= float(limit), name


def test_scores_of_float_tensors_move_by_at_most_the_stated_amount(released: Path, encoder: ResNet) -> None:
    size = size_of("scores of float tensors")
    of_features, of_scores = (float(re.findall(rf"{what} ([\d.e-]+)", size)[0]) for what in ("up to", "less than"))
    share = float(re.findall(r"([\d.]+) % of the range", size)[0]) / 100
    photos = [Image.fromarray(getattr(skimage.data, name)()) for name in ("astronaut", "chelsea", "coffee", "rocket")]
    by_kind = [
        [torch.stack(two_scale_crops(image, 224)) for image in kind] for kind in (photos, map(to_tensor, photos))
    ]
    pixels, floats = (normalize(torch.stack(crops)[:, :, 0]) for crops in by_kind)  # centre crops
    torch.testing.assert_close(floats[:, 0], pixels[:, 0], rtol=0, atol=1e-6)  # full scale
    with torch.inference_mode():
        moved = (encoder.features(floats[:, 1]) - encoder.features(pixels[:, 1])).norm(dim=1).max().item()
        model = ARNIQA("kadid10k", released)
        of_pixels, of_floats = (model(*crops.unbind(1)) for crops in (pixels, floats))
    assert 0.5 * of_features < moved <= of_features
    difference = (of_floats - of_pixels).abs().max().item()
    assert difference < of_scores and difference <= share * np.ptp(of_pixels.numpy())


def test_a_loss_in_half_precision_has_a_gradient_that_is_off_by_at_most_the_stated_share() -> None:
    (share,) = re.findall(r"([\d.]+) % of the gradient", size_of("precision of the loss"))
    generator, errors = torch.Generator().manual_seed(0), []
    for noise in (1, 0.5, 0.1):
        base = torch.randn(32, 128, generator=generator)
        a, b = (base + noise * torch.randn(32, 128, generator=generator) for _ in "ab")
        a.requires_grad_()
        z = torch.nn.functional.normalize(torch.cat([a, b])).half()
        similarity = (z @ z.T / 0.1).masked_fill(torch.eye(64, dtype=torch.bool), float("-inf")).float()
        in_half = torch.nn.functional.cross_entropy(similarity, torch.arange(64).roll(32))
        (ours,), (half,) = torch.autograd.grad(nt_xent_loss(a, b), a), torch.autograd.grad(in_half, a)
        errors.append(((half - ours).norm() / ours.norm()).item())
    assert 0.5 * float(share) / 100 < max(errors) <= float(share) / 100


def deviation(start: str) -> str:
    """The size of a deviation of the published code."""
    (size,) = (row[3] for row in DEVIATIONS if row[0].startswith(start))
    return size


@pytest.fixture(scope="module")
def photos() -> list[torch.Tensor]:
    """Centre crops of eight photos, 3 x 224 x 224."""
    names = ("astronaut", "chelsea", "coffee", "rocket", "hubble_deep_field", "immunohistochemistry", "retina")
    found = [getattr(skimage.data, name)() for name in names] + [skimage.data.stereo_motorcycle()[0]]
    return [to_tensor(center_corners_crop(Image.fromarray(photo[..., :3]), 224)[0]) for photo in found]


@pytest.mark.parametrize("kind", ["colordiff", "colorsat2", "highsharpen", "brighten"])
def test_the_order_of_the_channels_matters_to_lab_types_as_much_as_stated(
    kind: str, photos: list[torch.Tensor]
) -> None:
    stated_range = re.findall(rf"`{kind}` ([\d.]+) to ([\d.]+)", deviation("`colordiff`"))[0]

    def strongest(image: torch.Tensor) -> torch.Tensor:
        return degrade(image, [(kind, DISTORTIONS[kind].levels[4])], torch.Generator())

    sizes = [(strongest(photo) - strongest(photo.flip(0)).flip(0)).abs().mean().item() for photo in photos]
    assert [min(sizes), max(sizes)] == pytest.approx([float(x) for x in stated_range], abs=0.0005)


def test_an_overlapping_copy_of_patches_changes_as_much_more_as_stated(photos: list[torch.Tensor]) -> None:
    low, high = map(int, re.findall(r"(\d+) to (\d+) % more", deviation("`noneccpatch`"))[0])

    def change(function: Callable[..., torch.Tensor], photo: torch.Tensor) -> float:
        generator = torch.Generator().manual_seed(0)
        return sum((function(photo, 60, generator) - photo).abs().mean().item() for _ in range(40))

    more = [change(overlapping_patches, photo) / change(displaced_patches, photo) - 1 for photo in photos]
    assert [round(100 * min(more)), round(100 * max(more))] == [low, high]


def test_pixelate_in_float32_differs_by_at_most_the_stated_amount(photos: list[torch.Tensor]) -> None:
    """floor(i * in / out) in integers against the same in float32, down and up again."""
    found = re.search(
        r"level 1: (\d+) of 224 rows and columns, mean difference up to ([\d.]+)", deviation("`pixelate`")
    )
    assert found
    for level in DISTORTIONS["pixelate"].levels:
        small = int(224 * (0.95 - level**0.6))

        def rows(ratio: Callable[[int, int], np.ndarray], small: int = small) -> np.ndarray:
            return ratio(224, small)[ratio(small, 224)]

        ours = rows(lambda a, b: np.arange(b) * a // b)
        in_float = rows(lambda a, b: (np.arange(b, dtype=np.float32) * (np.float32(a) / np.float32(b))).astype(int))
        first = level == DISTORTIONS["pixelate"].levels[0]
        assert (ours != in_float).sum() == (int(found[1]) if first else 0)
        for photo in photos:
            made = degrade(photo, [("pixelate", level)], torch.Generator())
            assert torch.equal(made, photo[:, ours][:, :, ours])
            assert (made - photo[:, in_float][:, :, in_float]).abs().mean() <= (float(found[2]) if first else 0)


def test_quantization_leaves_a_flat_crop_as_it_is() -> None:
    flat = torch.full((3, 16, 16), 0.4)
    for level in DISTORTIONS["quantization"].levels:
        assert torch.equal(degrade(flat, [("quantization", level)], torch.Generator()), flat)


def published_split(name: str, phase: str) -> np.ndarray:
    path = FIDELITY.parents[2] / "shared" / "data" / "published_splits" / name / f"{phase}.npy"
    if not path.exists():
        pytest.skip(f"published splits not found: {path}")
    return np.load(path)


@pytest.mark.parametrize(("name", "position", "last"), [("LIVE", 0, 778), ("CSIQ", 1, 865)])
def test_the_padding_of_published_splits_leaks_as_often_as_stated(name: str, position: int, last: int) -> None:
    size = deviation("splits of LIVE")
    anywhere, in_test = re.findall(r"(\d+) of 10", size), re.findall(r"in (\d+) and (\d+)", size)[0]
    phases = {phase: published_split(name, phase) for phase in ("train", "val", "test")}
    padded = [{phase for phase, rows in phases.items() if -1 in rows[split]} for split in range(10)]
    own = [next(phase for phase, rows in phases.items() if last in rows[split]) for split in range(10)]
    assert sum(bool(p - {o}) for p, o in zip(padded, own, strict=True)) == int(anywhere[1 if position else 0])
    assert sum(o == "train" and "test" in p for p, o in zip(padded, own, strict=True)) == int(in_test[position])


def test_the_published_split_of_flive_leaves_out_as_many_rows_as_stated() -> None:
    left_out, training = map(int, re.findall(r"\d+", deviation("split of FLIVE")))
    rows = np.concatenate([published_split("FLIVE", phase).ravel() for phase in ("train", "val", "test")])
    assert 39810 - len(set(rows.tolist())) == left_out
    assert len(published_split("FLIVE", "train")) + left_out == training


def test_every_deterministic_type_has_a_row() -> None:
    named = {name for row in SAME for name in re.findall(r"`(\w+)`", row[0])}
    assert set(DETERMINISTIC) <= named


@pytest.mark.parametrize("row", [*SAME, *DEVIATIONS, *OURS], ids=lambda row: row[0][:30])
def test_the_tests_named_in_a_row_exist(row: list[str]) -> None:
    last = row[-1]
    if last == "the same":
        return
    names = re.findall(r"`([\w/]+(?:\.py)?)`", last)
    assert names, row
    tests = FIDELITY.parents[1] / "tests"
    for name in names:
        path = FIDELITY.parents[1] / name
        assert path.exists() or any(tests.rglob(name)), name
