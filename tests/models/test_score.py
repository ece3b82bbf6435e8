"""ARNIQA.score: every kind of input has the score of the script, and float tensors have a gradient."""

import copy
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import Normalize, Resize, ToTensor

import single_image_inference
from models.arniqa import ARNIQA, BATCH
from models.errors import ImageError
from tests.test_single_image_inference import full_reference_experiment

CROP = 32


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


def script(capsys: pytest.CaptureFixture[str], *arguments: object) -> float:
    """What single_image_inference.py prints for one image."""
    options = ["--device", "cpu", *map(str, arguments)]
    assert single_image_inference.main(options) == 0
    return float(capsys.readouterr().out.split()[0])


def test_a_path_an_image_and_its_pixels_have_the_score_that_the_script_prints(
    model: ARNIQA, released: Path, files: list[Path], photos: list[Image.Image], capsys: pytest.CaptureFixture[str]
) -> None:
    for path, photo in zip(files[1:], photos[1:], strict=True):
        printed = script(capsys, "--img_path", path, "--weights_dir", released, "--crop_size", CROP)
        for image in (path, str(path), photo, Image.open(path), uint8(photo)):
            score = model.score(image)
            assert score.ndim == 0 and not score.requires_grad
            assert score.item() == pytest.approx(printed, abs=1e-6)


def test_a_regressor_fitted_on_resized_images_is_followed(
    experiment: Path,
    files: list[Path],
    photos: list[Image.Image],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(experiment.parents[1])
    options = ["--regressor_dataset", "mine", "--eval_type", "scratch", "--experiment_name", "tried"]
    model = ARNIQA("mine", experiment=experiment)
    assert model.shorter_side == 60
    printed = script(capsys, "--img_path", files[0], *options)
    assert model.score(files[0]).item() == pytest.approx(printed, abs=1e-6)
    assert model.score(uint8(photos[0])).item() == pytest.approx(printed, abs=1e-6)
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


def test_the_whole_image_is_scored_at_both_scales(model: ARNIQA, files: list[Path], photos: list[Image.Image]) -> None:
    """By torchvision's transforms, as in the published example."""
    prepare = Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    expected = []
    for photo in photos:
        scales = (photo, Resize((photo.height // 2, photo.width // 2))(photo))
        expected.append(model(*(prepare(ToTensor()(scale)).unsqueeze(0) for scale in scales)))
    torch.testing.assert_close(model.score(files, crops="whole"), torch.cat(expected), rtol=0, atol=1e-6)


def test_a_long_list_goes_through_the_model_a_few_images_at_a_time(
    model: ARNIQA, files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    counts: list[int] = []

    def watched(full: Tensor, half: Tensor, reference: Tensor | None = None) -> Tensor:
        counts.append(len(full))
        return full.flatten(1).mean(dim=1)

    monkeypatch.setattr(model, "score_crops", watched)
    assert model.score([files[0]] * 11).shape == (11,)
    assert sum(counts) == 11 and max(counts) == BATCH


def test_the_score_is_a_loss_that_denoises(model: ARNIQA, photos: list[Image.Image]) -> None:
    clean = floats(photos[0])
    restored = (clean + 0.2 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))).clamp(0, 1)
    restored.requires_grad_()
    optimizer = torch.optim.Adam([restored], lr=0.01)
    losses = []
    for _ in range(4):
        loss = 1 - model.score(restored.clamp(0, 1))
        optimizer.zero_grad()
        loss.backward()
        assert restored.grad is not None and torch.isfinite(restored.grad).all() and restored.grad.abs().max() > 0
        optimizer.step()
        losses.append(loss.item())
    assert losses == sorted(losses, reverse=True) and losses[-1] < losses[0] - 1e-4  # the encoder's weights are random


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
    files: list[Path],
    photos: list[Image.Image],
    experiment: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    full_reference_experiment(tmp_path, experiment)
    monkeypatch.chdir(tmp_path)
    other = tmp_path / "other.png"
    photos[1].resize(photos[0].size).save(other)
    options = ["--regressor_dataset", "mine", "--eval_type", "scratch", "--experiment_name", "tried"]
    printed = script(capsys, "--img_path", other, "--reference", files[0], *options)
    model = ARNIQA("mine", experiment=tmp_path / "experiments" / "tried", full_reference=True)
    scores = model.score([other, files[0], uint8(photos[0])], reference=photos[0])
    assert scores[0].item() == pytest.approx(printed, abs=1e-6)
    same = (model.regressor.bias / 10).expand(2)  # no distance
    torch.testing.assert_close(scores[1:], same, rtol=0, atol=1e-5)
    for arguments, message in (
        ((other,), "reference: missing"),
        ((other, "five", files), "reference: found several"),
        ((files[1], "five", files[0]), r"1\.png: 67 x 91 pixels; the reference has 90 x 72"),
    ):
        with pytest.raises(ImageError, match=message):
            model.score(*arguments)


ONES = torch.ones(3, 40, 40)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        ([], "images: is empty"),
        (torch.zeros(0, 3, 40, 40), "images: is empty"),
        (torch.zeros(3, 31, 40), "images: 40 x 31 pixels; expected at least 32"),
        (torch.zeros(3, 0, 0), "images: 0 x 0 pixels; expected at least 32"),
        ([ONES, torch.zeros(3, 31, 40, dtype=torch.uint8)], r"images\[1\]: 40 x 31 pixels; expected at least 32"),
        (Image.new("RGB", (40, 31)), "images: 40 x 31 pixels; expected at least 32"),
        (torch.full((3, 40, 40), torch.nan), "images: has NaN or infinite"),
        ([ONES, ONES / 0], r"images\[1\]: has NaN or infinite"),
        (ONES * 200, r"from 200 to 200; expected floats in \[0, 1\]: divide by 255"),
        (ONES * 1.01, r"to 1\.01; expected floats in \[0, 1\]: do not normalise them, and clamp"),
        (-ONES, r"from -1 to -1; expected floats in \[0, 1\]: do not normalise them, and clamp"),
        (torch.stack([ONES, ONES * 200]), r"images\[1\]: has values from 200"),
        (torch.zeros(1, 40, 40), "images: found 1 x 40 x 40; expected 3 x H x W"),
        (torch.zeros(40, 40, 3), "images: found 40 x 40 x 3; expected 3 x H x W"),
        (torch.zeros(40, 40), "images: found 40 x 40; expected 3 x H x W"),
        (torch.zeros(()), "images: found a number; expected 3 x H x W"),
        (torch.zeros(1, 2, 3, 40, 40), "images: found 1 x 2 x 3 x 40 x 40; expected 3 x H x W"),
        (torch.zeros(3, 40, 40, dtype=torch.int64), "images: found int64; expected uint8 in 0..255 or floats"),
        ([ONES, torch.zeros(3, 40, 40, device="meta")], "images: has tensors on cpu and meta; move them to one device"),
        (np.zeros((40, 40, 3), np.uint8), "images: found ndarray; expected a path, a PIL image, a tensor, or a list"),
        ([ONES, None], r"images\[1\]: found NoneType; expected a path"),
        ("nowhere.png", r"nowhere\.png: not a readable image"),
        ([ONES, Path("nowhere.png")], r"nowhere\.png: not a readable image"),
    ],
)
def test_bad_input_is_one_line(model: ARNIQA, images: Any, message: str) -> None:
    with pytest.raises(ImageError, match=message) as error:
        model.score(images)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_model_in_half_precision_resizes_floats_in_single_precision(
    model: ARNIQA, photos: list[Image.Image], dtype: torch.dtype
) -> None:
    half = copy.deepcopy(model).to(dtype)
    half.shorter_side = 50
    pixels = floats(photos[0])
    scores = half.score([pixels, pixels.to(dtype), uint8(photos[0])])
    assert scores.dtype == dtype and torch.isfinite(scores).all()
    single = copy.deepcopy(model)
    single.shorter_side = 50
    expected = single.score(pixels).expand(3)
    torch.testing.assert_close(scores.float(), expected, rtol=0.02, atol=0.01)


def test_unknown_arguments_are_one_line(model: ARNIQA, files: list[Path]) -> None:
    with pytest.raises(ImageError, match="crops: found 'six'; allowed: 'five', 'whole'"):
        model.score(files[0], crops="six")
    with pytest.raises(ImageError, match="reference: found one; only a full-reference model"):
        model.score(files[0], reference=files[0])


def test_a_small_file_is_named(model: ARNIQA, files: list[Path], tmp_path: Path) -> None:
    small = tmp_path / "small.png"
    Image.new("RGB", (31, 200)).save(small)
    with pytest.raises(ImageError, match=r"small\.png: 31 x 200 pixels; expected at least 32 on each side"):
        model.score([files[0], small])
    shutil.copyfile(files[2], small)
    assert model.score(small).ndim == 0
