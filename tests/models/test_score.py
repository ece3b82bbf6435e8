"""ARNIQA.score: every kind of input has the score of the script, and float tensors have a gradient."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import ToTensor

import single_image_inference
from models.arniqa import ARNIQA
from models.errors import ImageError
from tests.test_single_image_inference import full_reference_experiment

CROP = 32
OF_THE_EXPERIMENT = ("--regressor_dataset", "mine", "--eval_type", "scratch", "--experiment_name", "tried")


@pytest.fixture(scope="module")
def photos() -> list[Image.Image]:
    """Three small photos, one smaller than a crop at half scale."""
    sizes = {"astronaut": (90, 72), "coffee": (67, 91), "chelsea": (64, 40)}
    return [Image.fromarray(getattr(skimage.data, name)()).resize(size) for name, size in sizes.items()]


@pytest.fixture(scope="module")
def files(photos: list[Image.Image], tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("photos")
    for number, photo in enumerate(photos):
        photo.save(folder / f"{number}.png")
    return sorted(folder.iterdir())


@pytest.fixture(scope="module")
def model(released: Path) -> ARNIQA:
    model = ARNIQA("kadid10k", released)
    model.crop_size = CROP
    return model


def uint8(image: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def floats(image: Image.Image) -> Tensor:
    return ToTensor()(image)


@pytest.fixture
def script(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., float]:
    """What single_image_inference.py prints for one image, run in a folder."""

    def score(folder: Path, *arguments: object) -> float:
        monkeypatch.chdir(folder)
        assert single_image_inference.main(["--device", "cpu", *map(str, arguments)]) == 0
        return float(capsys.readouterr().out.split()[0])

    return score


def test_a_path_an_image_and_its_pixels_have_the_score_that_the_script_prints(
    model: ARNIQA, released: Path, files: list[Path], photos: list[Image.Image], script: Callable[..., float]
) -> None:
    for path, photo in zip(files[1:], photos[1:], strict=True):
        printed = script(released, "--img_path", path, "--weights_dir", released, "--crop_size", CROP)
        for image in (path, str(path), photo, Image.open(path), uint8(photo)):
            score = model.score(image)
            assert score.ndim == 0 and not score.requires_grad
            assert score.item() == pytest.approx(printed, abs=1e-6)


def test_a_regressor_fitted_on_resized_images_is_followed(
    experiment: Path, files: list[Path], photos: list[Image.Image], script: Callable[..., float]
) -> None:
    model = ARNIQA("mine", experiment=experiment)
    assert model.shorter_side == 60
    printed = script(experiment.parents[1], "--img_path", files[0], *OF_THE_EXPERIMENT)
    for image in (files[0], uint8(photos[0])):
        assert model.score(image).item() == pytest.approx(printed, abs=1e-6)
    resized = model.score(floats(photos[0])).item()
    model.shorter_side = None
    as_it_is = model.score(floats(photos[0])).item()
    assert abs(resized - printed) < 0.1 * abs(as_it_is - printed)


def test_a_list_has_the_scores_of_its_images(model: ARNIQA, files: list[Path], photos: list[Image.Image]) -> None:
    images = [files[0], photos[1], uint8(photos[2]), floats(photos[0]), str(files[1]), photos[2].convert("L")]
    expected = torch.stack([model.score(image) for image in images])
    for several in (images, tuple(images)):
        found = model.score(several)
        assert found.shape == (len(images),)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    assert model.score(images[:1]).shape == (1,)


@pytest.mark.parametrize("crops", ["five", "whole"])
@pytest.mark.parametrize("convert", [uint8, floats])
def test_a_batch_has_the_scores_of_its_images(
    model: ARNIQA, photos: list[Image.Image], crops: str, convert: Callable[[Image.Image], Tensor]
) -> None:
    batch = torch.stack([convert(photo.resize((80, 70))) for photo in photos])
    found = model.score(batch, crops=crops)
    expected = torch.stack([model.score(image, crops=crops) for image in batch])
    assert found.shape == (3,)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(model.score([batch, batch[0]], crops=crops)[[0, 3]], expected[[0, 0]], rtol=0, atol=1e-5)


@pytest.mark.parametrize("crops", ["five", "whole"])
@pytest.mark.parametrize("shorter_side", [None, 40])
def test_the_gradient_equals_finite_differences(model: ARNIQA, crops: str, shorter_side: int | None) -> None:
    double = copy.deepcopy(model).double()
    double.crop_size, double.shorter_side = 32, shorter_side
    generator = torch.Generator().manual_seed(5)
    images = 0.3 + 0.4 * torch.rand(1, 3, 50, 45, generator=generator, dtype=torch.float64)  # bicubic stays in [0, 1]
    images.requires_grad_()
    (gradient,) = torch.autograd.grad(double.score(images, crops=crops).sum(), images)
    direction, step = torch.randn(images.shape, generator=generator, dtype=torch.float64), 1e-7
    with torch.no_grad():
        moved = [double.score(images + sign * step * direction, crops=crops).sum() for sign in (1, -1)]
    assert torch.allclose((gradient * direction).sum(), (moved[0] - moved[1]) / (2 * step), rtol=1e-4, atol=1e-8)


def test_a_full_reference_model_compares_with_the_reference(
    files: list[Path], photos: list[Image.Image], experiment: Path, tmp_path: Path, script: Callable[..., float]
) -> None:
    full_reference_experiment(tmp_path, experiment)
    other = tmp_path / "other.png"
    photos[1].resize(photos[0].size).save(other)
    printed = script(tmp_path, "--img_path", other, "--reference", files[0], *OF_THE_EXPERIMENT)
    model = ARNIQA("mine", experiment=tmp_path / "experiments" / "tried", full_reference=True)
    scores = model.score([other, files[0], uint8(photos[0])], reference=photos[0])
    assert scores[0].item() == pytest.approx(printed, abs=1e-6)
    same = (model.regressor.bias / 10).expand(2)  # no distance
    torch.testing.assert_close(scores[1:], same, rtol=0, atol=1e-5)
    with pytest.raises(ImageError, match="reference: found several images"):
        model.score(files[0], reference=[files[0], files[0]])
    with pytest.raises(ImageError, match="reference: missing"):
        model.score(other)
    with pytest.raises(ImageError, match=r"1\.png: 67 x 91 pixels; the reference has 90 x 72"):
        model.score(files[1], reference=files[0])


ONES = torch.ones(3, 40, 40)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ([], "images: is empty"),
        ([ONES, torch.zeros(3, 31, 40)], r"images\[1\]: 40 x 31 pixels; expected at least 32"),
        ([ONES, ONES * torch.nan], r"images\[1\]: has values from nan to nan"),
        (ONES * 200, r"from 200 to 200; expected floats in \[0, 1\]: divide by 255, do not normalise them, and clamp"),
        (torch.zeros(40, 40, 3), "images: found 40 x 40 x 3; expected 3 x H x W"),
        (torch.zeros(3, 40, 40, dtype=torch.int64), "images: found int64; expected uint8 in 0..255 or floats"),
        ([ONES, Path("nowhere.png")], r"nowhere\.png: not a readable image"),
    ],
)
def test_bad_input_is_one_line(model: ARNIQA, images: Any, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        model.score(images)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_model_in_half_precision_resizes_floats_in_single_precision(
    model: ARNIQA, photos: list[Image.Image], dtype: torch.dtype
) -> None:
    single = copy.deepcopy(model)
    single.shorter_side = 50
    pixels = floats(photos[0])
    expected = single.score(pixels).expand(3)
    scores = single.to(dtype).score([pixels, pixels.to(dtype), uint8(photos[0])])
    assert scores.dtype == dtype
    torch.testing.assert_close(scores.float(), expected, rtol=0.02, atol=0.01)
