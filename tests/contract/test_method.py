"""The method: outputs of the published code, through the names that other programs import."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import pearsonr, spearmanr
from sklearn.linear_model import Ridge

from data import KADIS700Dataset
from models.preprocess import center_corners_crop, half_scale_bicubic
from models.resnet import ResNet
from models.simclr import SimCLR, nt_xent_loss
from tests.contract.runs import ROOT, write_data
from tests.golden import golden
from utils.distortions import DISTORTIONS, degrade, sample_composition
from utils.metrics import plcc, srocc
from utils.regression import RidgePath

PROBES = json.loads((ROOT / "tests" / "probes.json").read_text(encoding="utf-8"))


def apply(key: str, image: torch.Tensor) -> np.ndarray:
    name, level, *angle = key.split("/")
    options = {"angle": float(angle[0].removeprefix("angle"))} if angle else {}
    distortion = DISTORTIONS[name]
    output = distortion(image, distortion.levels[int(level) - 1], torch.Generator().manual_seed(0), **options)
    return output.clamp(0, 1).numpy()


def test_the_pixels_of_every_deterministic_distortion() -> None:
    r, c = np.mgrid[0:128, 0:128]
    red = np.floor(255 * (0.5 + 0.5 * np.sin(2 * np.pi * (3 * r + 2 * c) / 128)))
    green = np.floor(255 * (0.6 * ((r // 16 + c // 16) % 2) + 0.2))
    pixels = np.stack([red, green, np.floor(2 * r * c / 128) % 256]).astype(np.uint8)
    assert pixels.sum(dtype=np.int64) == PROBES["input_sum"]
    rows, columns = np.array(PROBES["positions"]).T
    for key, expected in PROBES["values"].items():
        found = apply(key, torch.from_numpy(pixels).float() / 255)[:, rows, columns].T
        np.testing.assert_allclose(found, expected, rtol=0, atol=1 / 255 + 1e-5, err_msg=key)


def test_whole_images_of_every_deterministic_distortion() -> None:
    data = golden("distortions_deterministic.npz")
    image = torch.from_numpy(data["input"]).permute(2, 0, 1).float() / 255
    keys = [key for key in data.files if key != "input" and key.split("/")[0] not in ("lensblur", "colorshift")]
    assert len({key.split("/")[0] for key in keys}) >= 14
    for key in keys:
        error = np.abs(apply(key, image) - data[key] / 65535)
        assert (error <= 1 / 255 + 1e-5).mean() >= 0.999, key


def test_compositions_are_of_distinct_groups_and_of_the_stated_levels() -> None:
    assert len(DISTORTIONS) == 24 and len({d.group for d in DISTORTIONS.values()}) == 7
    generator, levels, sizes = torch.Generator().manual_seed(0), [], []
    for _ in range(4000):
        composition = sample_composition(generator, max_distortions=4, num_levels=5)
        groups = [DISTORTIONS[name].group for name, _ in composition]
        assert len(set(groups)) == len(groups) <= 4
        sizes.append(len(groups))
        levels += [DISTORTIONS[name].levels.index(value) for name, value in composition]
    expected = np.exp(-(np.arange(5.0) ** 2) / (2 * 2.5**2))
    np.testing.assert_allclose(np.bincount(levels) / len(levels), expected / expected.sum(), atol=0.02)
    np.testing.assert_allclose(np.bincount(sizes)[1:] / len(sizes), 1 / 4, atol=0.03)
    image = torch.rand(3, 40, 50, generator=generator)
    before = image.clone()
    degraded = degrade(image, composition, generator)
    assert torch.equal(image, before) and degraded.shape == image.shape and 0 <= degraded.min() <= degraded.max() <= 1


@pytest.mark.parametrize("case", range(3))
def test_the_loss_and_its_gradients(case: int) -> None:
    data = golden("nt_xent.npz")
    a, b = (torch.tensor(data[f"{case}/{name}"], requires_grad=True) for name in "ab")
    loss = nt_xent_loss(a, b, float(data[f"{case}/tau"]))
    loss.backward()
    assert loss.item() == pytest.approx(float(data[f"{case}/loss"]), rel=1e-5)
    for name, tensor in (("a", a), ("b", b)):
        expected = data[f"{case}/grad_{name}"]
        tolerance = 3e-5 * np.abs(expected).max()  # the published float32 gradient is off by 2.4e-5 itself
        np.testing.assert_allclose(tensor.grad.numpy(), expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("name", ["300x260", "481x321", "150x120", "225x225"])
def test_the_crops_of_both_scales(name: str) -> None:
    data = golden("crops.npz")
    image = Image.fromarray(data[f"{name}/input"])
    for scale, key in ((image, "crops"), (half_scale_bicubic(image), "half_crops")):
        crops = np.stack([np.asarray(crop) for crop in center_corners_crop(scale, 224)])
        np.testing.assert_array_equal(crops, data[f"{name}/{key}"])


def test_the_encoder_normalises_and_the_collapsed_loss_is_that_of_the_formula() -> None:
    model = SimCLR({"embedding_dim": 16, "pretrained": False, "use_norm": True}, 0.1)
    f, g = ResNet(embedding_dim=16, pretrained=False, use_norm=True)(torch.randn(2, 3, 64, 64))
    assert f.shape == (2, 2048) and g.shape == (2, 16)
    for rows in (f, g):
        torch.testing.assert_close(rows.norm(dim=1), torch.ones(2))
    assert {name.split(".")[1] for name in model.state_dict()} == {"model", "projector"}
    same = torch.ones(6, 16) / 4
    assert nt_xent_loss(same, same, 0.1).item() == pytest.approx(np.log(4 * 3 - 1), rel=1e-5)


def test_a_sample_depends_on_seed_epoch_and_index_alone(tmp_path: Path) -> None:
    write_data(tmp_path)
    options = {"patch_size": 32, "max_distortions": 4, "num_levels": 5, "pristine_prob": 0.05, "seed": 3}
    first, again = (KADIS700Dataset(tmp_path / "data" / "KADIS700", **options) for _ in range(2))
    one, same, other = first[(1, 7)], again[(1, 7)], first[(2, 7)]
    crops = ("img_A_orig", "img_A_ds", "img_B_orig", "img_B_ds")
    assert all(one[name].shape == (3, 32, 32) and torch.equal(one[name], same[name]) for name in crops)
    assert one["composition"] == same["composition"]
    assert any(not torch.equal(one[name], other[name]) for name in crops)


def test_regression_and_correlations() -> None:
    rng = np.random.default_rng(0)
    features, scores = rng.standard_normal((40, 5, 12)), rng.standard_normal(40)
    train, images = np.arange(30), np.arange(30, 40)
    predictions = RidgePath(features, scores).predict(train, images, [0.1, 10.0])
    for alpha, found in zip((0.1, 10.0), predictions, strict=True):
        ridge = Ridge(alpha=alpha).fit(features[train].reshape(-1, 12), scores[train].repeat(5))
        expected = ridge.predict(features[images].reshape(-1, 12)).reshape(-1, 5).mean(axis=1)
        np.testing.assert_allclose(found, expected, rtol=1e-8)
        assert srocc(found, scores[images]) == pytest.approx(spearmanr(found, scores[images]).statistic)
        assert plcc(found, scores[images]) == pytest.approx(pearsonr(found, scores[images]).statistic)


def test_the_published_regression() -> None:
    data = golden("evaluation.npz")
    features, scores = data["features"].reshape(len(data["scores"]), 5, -1), data["scores"]
    path = RidgePath(features, scores)
    coef, intercept = path.fit(np.arange(len(scores)), float(data["alpha"]))
    np.testing.assert_allclose(coef, data["coef"], rtol=0, atol=1e-8)
    assert intercept == pytest.approx(float(data["intercept"]), abs=1e-8)
    correlations = [
        srocc(path.predict(train, test, [float(data["alpha"])])[0], scores[test])
        for train, test in zip(data["train"], data["test"], strict=True)
    ]
    np.testing.assert_allclose(correlations, data["srocc/global"], atol=1e-8)
