"""models.inference_encoder: the same features without batch norm, from a copy."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import nn

from models.inference_encoder import inference_encoder
from models.resnet import ResNet
from models.weights import encoder_hash


def features(encoder: ResNet) -> torch.Tensor:
    with torch.inference_mode():
        return encoder.features(torch.randn(2, 3, 64, 48, generator=torch.Generator().manual_seed(0)))


@pytest.mark.parametrize("convert", [lambda encoder: encoder, nn.SyncBatchNorm.convert_sync_batchnorm])
def test_the_features_are_those_of_the_encoder_and_no_batch_norm_is_left(encoder: ResNet, convert: Callable) -> None:
    folded = inference_encoder(convert(copy.deepcopy(encoder)))
    torch.testing.assert_close(features(folded), features(encoder), rtol=0, atol=1e-5)
    assert not any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in folded.modules())
    assert not any(p.requires_grad for p in folded.parameters())


def test_the_encoder_itself_is_unchanged_and_can_be_trained_on(encoder: ResNet) -> None:
    trained = copy.deepcopy(encoder).train()
    before = encoder_hash(trained)
    inference_encoder(trained)
    assert encoder_hash(trained) == before
    assert trained.training and all(p.requires_grad for p in trained.parameters())
