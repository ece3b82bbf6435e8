"""Every distortion type runs on the device of its image; only the codecs use the CPU."""

import pytest
import torch

from tests.utils.distortions.other_device import NAME, Elsewhere, OtherDevice
from utils.distortions import DISTORTIONS


@pytest.mark.parametrize(("name", "level"), [(name, level) for name, d in DISTORTIONS.items() for level in d.levels])
def test_a_type_runs_on_the_images_device_with_the_same_result(name: str, level: float) -> None:
    image = torch.rand(3, 72, 64, generator=torch.Generator().manual_seed(0))
    expected = DISTORTIONS[name](image, level, torch.Generator().manual_seed(1))
    with OtherDevice():
        output = DISTORTIONS[name](Elsewhere(image), level, torch.Generator().manual_seed(1))
    assert isinstance(output, Elsewhere) and output.device.type == NAME
    assert torch.equal(output.values_on_cpu, expected)
