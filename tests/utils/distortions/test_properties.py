"""Properties that every distortion type has for any image."""

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from utils.distortions import DISTORTIONS

CASES = [(name, level) for name, d in DISTORTIONS.items() for level in (d.levels[0], d.levels[-1])]
sizes = st.tuples(st.integers(32, 600), st.integers(32, 400))
contents = st.sampled_from(["noise", "black", "white", "constant", "ramp"])


def make(content: str, height: int, width: int) -> torch.Tensor:
    if content == "noise":
        return torch.rand(3, height, width, generator=torch.Generator().manual_seed(height * width))
    if content == "ramp":
        return torch.linspace(0, 1, width).expand(3, height, width).contiguous()
    return torch.full((3, height, width), {"black": 0.0, "white": 1.0, "constant": 0.3}[content])


@pytest.mark.parametrize("name", DISTORTIONS)
@settings(max_examples=25, derandomize=True)
@given(number=st.integers(0, 4), size=sizes, content=contents)
@example(number=0, size=(33, 47), content="black")
@example(number=4, size=(47, 33), content="black")
@example(number=0, size=(600, 399), content="white")
@example(number=4, size=(599, 400), content="white")
@example(number=0, size=(32, 400), content="constant")
@example(number=4, size=(600, 32), content="constant")
def test_shape_range_input_and_repeatability(name: str, number: int, size: tuple[int, int], content: str) -> None:
    level = DISTORTIONS[name].levels[number]
    image = make(content, size[1], size[0])
    before = image.clone()
    output = DISTORTIONS[name](image, level, torch.Generator().manual_seed(5))
    assert output.shape == image.shape and output.dtype == image.dtype
    assert torch.isfinite(output).all() and output.min() >= 0 and output.max() <= 1
    assert torch.equal(image, before)
    assert output.data_ptr() != image.data_ptr()
    assert torch.equal(output, DISTORTIONS[name](image, level, torch.Generator().manual_seed(5)))


@pytest.mark.parametrize(("name", "level"), CASES)
def test_non_contiguous_and_float64_images(name: str, level: float) -> None:
    image = torch.rand(3, 60, 50, generator=torch.Generator().manual_seed(0))
    strided = image.permute(1, 2, 0).contiguous().permute(2, 0, 1)
    expected = DISTORTIONS[name](image, level, torch.Generator().manual_seed(1))
    assert torch.equal(DISTORTIONS[name](strided, level, torch.Generator().manual_seed(1)), expected)
    double = DISTORTIONS[name](image.double(), level, torch.Generator().manual_seed(1))
    assert double.dtype == torch.float64
    # float32 and float64 may round to different 8-bit values, in the output and in the input of the codecs.
    assert ((double - expected).abs() < 2 / 255).double().mean() > 0.99


@pytest.mark.parametrize(("name", "level"), CASES)
@pytest.mark.parametrize("shape", [(3, 9, 40), (3, 1, 1), (3, 5, 5)])
def test_images_smaller_than_patches_and_blocks(name: str, level: float, shape: tuple[int, int, int]) -> None:
    image = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    output = DISTORTIONS[name](image, level, torch.Generator().manual_seed(1))
    assert output.shape == image.shape and torch.isfinite(output).all()


@pytest.mark.parametrize(
    "name", ["gaublur", "lensblur", "motionblur", "jitter", "pixelate", "noneccpatch", "colorsat1"]
)
def test_a_constant_image_is_unchanged_by_types_that_only_move_or_mix(name: str) -> None:
    image = torch.full((3, 64, 48), 0.4)
    for level in DISTORTIONS[name].levels:
        torch.testing.assert_close(
            DISTORTIONS[name](image, level, torch.Generator().manual_seed(0)), image, rtol=0, atol=1e-5
        )
