"""Checks the table in docs/fidelity.md of other programs that use the same weights: how to get their scores here."""

import re
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor
from torchvision.transforms.functional import normalize, resize, to_tensor

import single_image_inference
from models.arniqa import ARNIQA
from tests.markdown import table_rows

ROOT = Path(__file__).resolve().parents[1]
PHOTOS = sorted((ROOT / "assets").glob("*.png"))
ROWS = table_rows(ROOT / "docs" / "fidelity.md", "Other programs with the same weights")
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")


def photo(path: Path) -> Tensor:
    return to_tensor(Image.open(path).convert("RGB")).unsqueeze(0)


def whole(model: ARNIQA, image: Tensor, half: Tensor) -> float:
    return model(normalize(image, MEAN, STD), normalize(half, MEAN, STD)).item()


def torchmetrics_half(image: Tensor) -> Tensor:
    return resize(image, [image.shape[2] // 2, image.shape[3] // 2], antialias=True)


def pyiqa_half(image: Tensor) -> Tensor:
    return F.interpolate(image, scale_factor=0.5, mode="bilinear", align_corners=False)


@pytest.fixture(scope="module")
def model(released: Path) -> ARNIQA:
    return ARNIQA("kadid10k", released)


@pytest.mark.parametrize("size", [(64, 80), (65, 81)])
def test_half_scale_without_antialiasing_is_the_mean_of_2_x_2_pixels(size: tuple[int, int]) -> None:
    """At odd sizes without the last row or column."""
    image = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(pyiqa_half(image), F.avg_pool2d(image, 2), rtol=0, atol=1e-6)


def test_the_formula_for_flive_is_that_of_the_other_range(released: Path) -> None:
    found = re.search(r"([\d.]+) \+ ([\d.]+) times", next(row[3] for row in ROWS if row[0] == "equivalent here"))
    assert found
    image = photo(PHOTOS[0])
    model = ARNIQA("flive", released)
    scales = (normalize(scale, MEAN, STD) for scale in (image, pyiqa_half(image)))
    raw = model(*scales, scale_score=False).item()
    ours = whole(model, image, pyiqa_half(image))
    assert float(found[1]) + float(found[2]) * ours == pytest.approx((raw - 0) / (100 - 0), abs=1e-6)


def test_scores_differ_from_those_of_the_script_by_as_much_as_stated(
    model: ARNIQA, released: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--img_path", str(ROOT / "assets"), "--weights_dir", str(released), "--device", "cpu"]
    assert single_image_inference.main(options) == 0
    script = dict(line.split(": ", 1) for line in capsys.readouterr().out.splitlines())
    assert len(script) == len(PHOTOS) == 7
    (row,) = (row for row in ROWS if row[0].startswith("largest difference"))
    for column, half in ((2, torchmetrics_half), (3, pyiqa_half)):
        sizes = []
        for path in PHOTOS:
            image = photo(path)
            sizes.append(abs(whole(model, image, half(image)) - float(script[str(path)].split()[0])))
        assert float(row[column]) == pytest.approx(max(sizes), rel=0.05)
