"""The model with several regressors: each column of its scores is that of the model with this regressor alone."""

import math
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import ToTensor

from data import get_dataset
from models.arniqa import ARNIQA
from models.errors import ImageError, UserError, WeightsError
from models.multi_regressor import MultiRegressorARNIQA, quality_model
from models.regressor import RELEASED_SCORES
from tests.test_single_image_inference import full_reference_experiment

ROOT = Path(__file__).resolve().parents[2]
CROP = 32


@pytest.fixture(scope="module")
def photos() -> list[Image.Image]:
    return [Image.fromarray(skimage.data.astronaut()).resize(size) for size in ((90, 72), (64, 41))]


@pytest.fixture(scope="module")
def model(released: Path) -> MultiRegressorARNIQA:
    return smaller(MultiRegressorARNIQA("all", released))


def smaller(model: MultiRegressorARNIQA) -> MultiRegressorARNIQA:
    model.crop_size = CROP  # type: ignore[assignment]
    return model


def alone(model: MultiRegressorARNIQA, *place: object, **options: object) -> list[ARNIQA]:
    found = [ARNIQA(name, *place, **options) for name in model.regressor_dataset]
    for one, of_several in zip(found, model.models, strict=True):
        one.crop_size = of_several.crop_size
    return found


@pytest.mark.parametrize("crops", ["five", "whole"])
def test_each_column_is_the_score_of_that_regressor_alone(
    model: MultiRegressorARNIQA, released: Path, photos: list[Image.Image], crops: str
) -> None:
    assert model.regressor_dataset == tuple(RELEASED_SCORES)
    images = [*photos, *(torch.from_numpy(np.array(photo)).permute(2, 0, 1) for photo in photos), ToTensor()(photos[1])]
    found, singles = model.score(images, crops), alone(model, released)
    assert found.shape == (5, 8)  # more images than a batch has
    for column, one in zip(found.unbind(1), singles, strict=True):
        torch.testing.assert_close(column, one.score(images, crops), rtol=0, atol=1e-6)
    torch.testing.assert_close(model.score(photos[0], crops), found[0], rtol=0, atol=1e-5)


def test_an_image_is_encoded_once_for_each_preprocessing(
    experiment: Path, photos: list[Image.Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    """kadid10k and mine of the experiment are fitted on crops of 48, one of them on resized images."""
    model = MultiRegressorARNIQA(["mine", "kadid10k"], experiment=experiment)
    encoded: list[tuple[int, ...]] = []
    features = model.models[0].encoder.features
    assert model.models[0].encoder is model.models[1].encoder
    monkeypatch.setattr(model.models[0].encoder, "features", lambda x: (encoded.append(tuple(x.shape)), features(x))[1])
    found = model.score(photos[0])
    assert encoded == [(10, 3, 48, 48)] * 2
    singles = alone(model, experiment=experiment)
    assert {one.shorter_side for one in singles} == {None, 60}
    expected = torch.stack([one.score(photos[0]) for one in singles])
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
    model.shorter_side, model.crop_size = None, CROP
    assert [(one.shorter_side, one.crop_size) for one in model.models] == [(None, CROP)] * 2
    assert (model.shorter_side, model.crop_size) == ((None, None), (CROP, CROP))
    encoded.clear()
    model.score(photos[0])
    assert encoded == [(10, 3, CROP, CROP)]


def test_the_gradient_is_that_of_the_chosen_regressor(
    model: MultiRegressorARNIQA, released: Path, photos: list[Image.Image]
) -> None:
    batch = torch.stack([ToTensor()(photos[0])] * 2).requires_grad_()
    for number, one in list(enumerate(alone(model, released)))[::3]:
        (expected,) = torch.autograd.grad(one.score(batch).sum(), batch)
        (found,) = torch.autograd.grad(model.score(batch)[:, number].sum(), batch)
        assert expected.abs().max() > 0
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6 * expected.abs().max().item())


def test_forward_and_percentile(model: MultiRegressorARNIQA, released: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    img, img_ds = torch.randn(2, 3, 3, 40, 40, generator=generator).unbind(1)[:2]
    singles = alone(model, released)
    for scale_score in (True, False):
        scores, embedding = model(img, img_ds, return_embedding=True, scale_score=scale_score)
        expected = torch.stack([one(img, img_ds, scale_score=scale_score) for one in singles], dim=1)
        torch.testing.assert_close(scores, expected, rtol=0, atol=1e-6)
        assert embedding.shape == (2, 4096)
    scores = torch.rand(3, 2, 8, generator=generator)
    assert torch.equal(model.percentile(scores.tolist()).nan_to_num(-1), model.percentile(scores).nan_to_num(-1))
    found = model.percentile(scores)
    for name, column, score, one in zip(
        model.regressor_dataset, found.unbind(-1), scores.unbind(-1), singles, strict=True
    ):
        expected = one.percentile(score)
        assert (expected is None) == (name == "koniq10k")
        assert column.isnan().all() if expected is None else torch.equal(column, expected)


def test_full_reference(experiment: Path, tmp_path: Path, photos: list[Image.Image]) -> None:
    full_reference_experiment(tmp_path, experiment)
    folder = tmp_path / "experiments" / "tried"
    model = MultiRegressorARNIQA("all", experiment=folder, full_reference=True)
    assert model.regressor_dataset == ("mine",)
    blurred = photos[0].resize((30, 24)).resize(photos[0].size)
    (one,) = alone(model, experiment=folder, full_reference=True)
    expected = one.score([blurred, photos[0]], reference=photos[0])
    torch.testing.assert_close(
        model.score([blurred, photos[0]], reference=photos[0])[:, 0], expected, rtol=0, atol=1e-6
    )
    with pytest.raises(ImageError, match="reference: missing"):
        model.score(photos)


def test_all_is_what_is_there(
    experiment: Path, released: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ARNIQA.pth", "regressor_tid2013.pth", "regressor_live.pth"):
        shutil.copy(released / name, tmp_path)
    assert quality_model("all", tmp_path).regressor_dataset == ("live", "tid2013")
    assert quality_model("all", experiment=experiment).regressor_dataset == ("kadid10k", "mine")
    monkeypatch.setenv("ARNIQA_WEIGHTS_DIR", str(tmp_path))
    assert quality_model(["tid2013", "live"]).regressor_dataset == ("tid2013", "live")
    assert quality_model("live").regressor_dataset == "live" and quality_model(["live"]).regressor_dataset == ("live",)
    (tmp_path / "empty").mkdir()
    with pytest.raises(WeightsError, match=r"empty: has no regressor_<dataset>\.pth"):
        quality_model("all", tmp_path / "empty")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["live", "kadid"], "kadid: the release has no regressor for it"),
        (["live", "live"], "regressor_dataset: found live live; allowed: different datasets"),
        (["live", "all"], "found 'all', which stands for every regressor: give it alone"),
        ([], "found no dataset"),
        (["live", "../x"], r"regressor_dataset: found '\.\./x'"),
    ],
)
def test_mistakes_are_one_line(names: list[str], message: str, released: Path) -> None:
    with pytest.raises(UserError, match=message):
        quality_model(names, released)


def test_two_files_of_one_dataset_are_an_error(released: Path, tmp_path: Path, experiment: Path) -> None:
    shutil.copytree(experiment, tmp_path / "tried")
    regressors = tmp_path / "tried" / "regressors"
    shutil.copyfile(regressors / "regressor_mine.pth", regressors / "regressor_copy.pth")
    with pytest.raises(WeightsError, match="regressor_dataset: found kadid10k mine mine; allowed: different datasets"):
        quality_model("all", experiment=tmp_path / "tried")


def test_no_dataset_may_be_called_all(released: Path, experiment: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="dataset: found 'all'"):
        get_dataset("all", tmp_path)
    for place in ({"weights_dir": released}, {"experiment": experiment}):
        with pytest.raises(UserError, match="regressor_dataset: found 'all', which stands for every regressor"):
            ARNIQA("all", **place)


def test_the_hub_model_can_be_pickled(released: Path, photos: list[Image.Image]) -> None:
    names = ["spaq", "live"]
    model = torch.hub.load(str(ROOT), "ARNIQA", source="local", regressor_dataset=names, weights_dir=released)
    again = pickle.loads(pickle.dumps(model))
    assert again.regressor_dataset == ("spaq", "live") and not again.training
    found: Tensor = again.score(photos[0])
    assert torch.equal(found, model.score(photos[0])) and math.isfinite(found.sum().item())
    assert again.models[0].encoder is again.models[1].encoder
