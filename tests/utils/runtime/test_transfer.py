"""utils.runtime.transfer: the same values, on the device, in channels-last memory format."""

import pytest
import torch

from utils.runtime.transfer import Transfer

DEVICES = [
    "cpu",
    pytest.param(
        "cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="NO CUDA DEVICE: copies are not tested")
    ),
]


@pytest.mark.parametrize("device", DEVICES)
def test_the_values_arrive_also_when_memory_is_reused(device: str) -> None:
    transfer = Transfer(torch.device(device))
    batches = [[torch.full((2, 3, 64, 64), float(10 * i + k)) for k in range(2)] for i in range(20)]
    if device == "cuda":
        batches = [[image.pin_memory() for image in batch] for batch in batches]
    sums = []
    for batch in batches:
        images = transfer(batch)
        assert all(i.device.type == device and i.is_contiguous(memory_format=torch.channels_last) for i in images)
        sums.append([image.mean() for image in images])
    assert [[s.item() for s in of] for of in sums] == [[10 * i, 10 * i + 1] for i in range(20)]
