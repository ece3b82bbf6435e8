"""The quality model: frozen encoder and linear regressor on its two-scale features (paper section 3.3)."""

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from .weights import (
    WeightsError,
    encoder_hash,
    find_best_checkpoint,
    load_encoder,
    load_regressor,
    published_encoder,
    published_regressor,
)


class ARNIQA(nn.Module):
    """No-reference image quality: encoder and ridge regressor, frozen, in evaluation mode.

    For inference only: batch norm is folded into the convolutions (features equal to 1e-5), the weights are
    in channels-last order and take no gradient. Gradients with respect to the images flow as usual.

    Args:
        regressor_dataset: dataset that the regressor was fitted on: one of the eight of `RELEASED_SCORES`, or
            with `experiment` any that has been tested there.
        weights_dir: folder that holds ARNIQA.pth and regressor_<dataset>.pth; by default the folder named in
            the environment variable ARNIQA_WEIGHTS_DIR, else the release by way of torch.hub's cache.
        experiment: folder experiments/<name> of a training run, whose best checkpoint and regressor to use
            instead; or experiments/<name>/arniqa, the regressors that a test fitted on the released encoder, which
            then comes from `weights_dir` or the release.
        use_norm: whether the encoder L2-normalises its features; the weights files do not say it.

    Attributes:
        mos_range: nominal lowest and highest score of the dataset.
        mos_type: "mos" where a higher score is better, "dmos" where a lower one is.

    Raises:
        WeightsError: a weights file is missing, cannot be fetched or does not fit.
    """

    def __init__(
        self,
        regressor_dataset: str = "kadid10k",
        weights_dir: str | Path | None = None,
        experiment: str | Path | None = None,
        use_norm: bool = True,
    ) -> None:
        super().__init__()
        if experiment is not None:
            path = find_regressor(experiment, regressor_dataset)
            if (Path(experiment) / "pretrain").is_dir():
                encoder = load_encoder(find_best_checkpoint(experiment), use_norm)
            else:
                encoder = published_encoder(weights_dir)
            self.regressor, about = load_regressor(path, encoder_hash(encoder))
        else:
            self.regressor, about = published_regressor(regressor_dataset, weights_dir)
            encoder = published_encoder(weights_dir)
        fold_batch_norm(encoder)
        self.encoder = encoder.to(memory_format=torch.channels_last)
        self.mos_range: tuple[float, float] = tuple(about["mos_range"])
        self.mos_type: str = about["mos_type"]
        self.requires_grad_(False).eval()

    def forward(
        self, img: Tensor, img_ds: Tensor, return_embedding: bool = False, scale_score: bool = True
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Quality scores of images.

        Args:
            img: N x 3 x H x W, ImageNet-normalised, at full scale; any size.
            img_ds: N x 3 x H' x W', the same images at half scale. Where both scales have one size, as crops
                have, they go through the encoder as one batch.
            return_embedding: also return the features that the scores are computed from.
            scale_score: map the dataset's nominal range to [0, 1], higher being better; else the score is in
                the dataset's own units. It is the output of a linear model and may leave the range.

        Returns:
            N scores; with `return_embedding` also the N x 4096 embedding [f(img), f(img_ds)].
        """
        if img.ndim != 4 or img_ds.ndim != 4 or img.shape[:2] != img_ds.shape[:2] or img.shape[1] != 3:
            raise ValueError(
                f"expected N x 3 x H x W images at two scales, got {tuple(img.shape)}, {tuple(img_ds.shape)}"
            )
        if img.shape[2:] == img_ds.shape[2:]:
            full, half = self._features(torch.cat([img, img_ds])).chunk(2)
        else:
            full, half = self._features(img), self._features(img_ds)
        embedding = torch.hstack([full, half]).to(self.regressor.weight.dtype)
        # A sum of products, which autocast leaves in full precision, unlike the regressor called as a layer.
        score = (embedding * self.regressor.weight).sum(dim=1) + self.regressor.bias
        if scale_score:
            score = self._scale(score)
        return (score, embedding) if return_embedding else score

    def _features(self, images: Tensor) -> Tensor:
        return self.encoder.features(images.contiguous(memory_format=torch.channels_last))

    def _scale(self, score: Tensor) -> Tensor:
        """The dataset's range -> [0, 1], DMOS flipped so that higher is better."""
        low, high = self.mos_range
        scaled = (score - low) / (high - low)
        return 1 - scaled if self.mos_type == "dmos" else scaled


def find_regressor(experiment: str | Path, dataset: str) -> Path:
    """The file of the regressor that an experiment's test fitted for that dataset.

    Raises:
        WeightsError: there is none; the message lists those that there are.
    """
    path = Path(experiment) / "regressors" / f"regressor_{dataset}.pth"
    if not path.is_file():
        there = sorted(p.stem.removeprefix("regressor_") for p in path.parent.glob("regressor_*.pth"))
        raise WeightsError(f"{path}: no such file; this experiment has regressors for: {', '.join(there) or 'none'}")
    return path


def fold_batch_norm(module: nn.Module) -> None:
    """Replaces, in place, every convolution and the batch norm right after it by one convolution.

    Valid in evaluation mode, where batch norm is an affine map of each channel. Each container must register
    the two one after the other, as torchvision's ResNet does.
    """
    previous: tuple[str, nn.Module] | None = None
    for name, child in list(module.named_children()):
        if isinstance(child, nn.BatchNorm2d) and previous is not None and isinstance(previous[1], nn.Conv2d):
            setattr(module, previous[0], fuse_conv_bn_eval(previous[1], child))
            setattr(module, name, nn.Identity())
        else:
            fold_batch_norm(child)
        previous = (name, child)
