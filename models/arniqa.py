"""The quality model: a frozen encoder and a linear regressor on its two-scale features (paper section 3.3)."""

from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from .errors import ImageError
from .hub_module import HubModule
from .inference_encoder import inference_encoder
from .inputs import Named, OneImage, one_by_one, read
from .preprocess import Preprocessing, crop_at, normalize, size, to_unit, two_scale_crops, two_scales
from .regressor import Regressor
from .resnet import ResNet
from .weights import load_weights

BATCH = 4  # images that `ARNIQA.score` encodes at once, ten crops each
Number = TypeVar("Number", float, Tensor)


class ARNIQA(HubModule):
    """Image quality model: a frozen encoder and a ridge regressor, in evaluation mode.

    For inference only: batch norm is folded into the convolutions (features agree to 1e-5), and the weights are in
    channels-last memory format and do not require gradients. Gradients with respect to the images are available.

    Args:
        regressor_dataset: dataset that the regressor was fitted on: one of the eight in `RELEASED_SCORES`, a dataset
            that the experiment was tested on, or a dataset with an exported regressor in `weights_dir`.
        weights_dir: folder with ARNIQA.pth and regressor_<dataset>.pth, released or exported. Default: the folder in
            the environment variable ARNIQA_WEIGHTS_DIR; if it is not set, the release is downloaded to torch.hub's
            cache.
        experiment: folder of an experiment with weights to use instead of the released ones. experiments/<name>
            gives the best checkpoint and the regressor of a training run. experiments/<name>/arniqa gives a regressor
            that test.py fitted on the released encoder; the encoder is then loaded from `weights_dir` or the release.
        full_reference: score images against a reference image, with a full-reference regressor of test.py. Needs
            `experiment`.

    Attributes:
        regressor_dataset: dataset that the regressor was fitted on.
        mos_range: nominal lowest and highest score of the dataset.
        mos_type: "mos" if a higher score is better, "dmos" if a lower score is better.
        crop_size: side of the crops in the fit, in pixels; 224 if the regressor's file does not have it.
        precision: precision of the features in the fit; "float32" if the regressor's file does not have it.
        shorter_side: shorter side in pixels to which images were resized in the fit; None if they were not resized or
            the regressor's file does not have it. `score` resizes images to it. The released regressor of SPAQ was
            fitted on images with a shorter side of 512, but the published code scores images at their original size.
            Set it to 512 to score images as in the fit.
        score_quantiles: quantiles of the scores in the fit, see `Regressor`; None if they are not known.
        score_kind: kind of these scores: "human", "pseudo" (computed by a measure), "level" (of degradation) or
            "unstated".
        fitted_on: `encoder_hash` of the encoder in the fit, from the regressor's file; None for the released ones.
        regressor_hash: see `Regressor.hash`.

    Raises:
        WeightsError: a weights file is missing, invalid or cannot be downloaded, or both `weights_dir` and a training
            run with its own encoder are given.
    """

    def __init__(
        self,
        regressor_dataset: str = "kadid10k",
        weights_dir: str | Path | None = None,
        experiment: str | Path | None = None,
        full_reference: bool = False,
    ) -> None:
        encoder, (fitted,) = load_weights([regressor_dataset], weights_dir, experiment, full_reference)
        self._assemble(inference_encoder(encoder), fitted)

    @classmethod
    def from_parts(cls, encoder: ResNet, fitted: Regressor) -> "ARNIQA":
        """Returns the model of an `inference_encoder`, which is not copied, and a regressor."""
        model = cls.__new__(cls)
        model._assemble(encoder, fitted)
        return model

    def _assemble(self, encoder: ResNet, fitted: Regressor) -> None:
        super().__init__()
        self.encoder, self.regressor = encoder, fitted.linear()
        self.full_reference = fitted.kind == "full_reference"
        self.regressor_hash = fitted.hash
        self.regressor_dataset = fitted.dataset
        self.mos_range, self.mos_type = fitted.mos_range, fitted.mos_type
        self.crop_size, self.shorter_side, self.precision = fitted.crop_size, fitted.shorter_side, fitted.precision
        self.score_quantiles, self.score_kind = fitted.score_quantiles, fitted.score_kind
        self.fitted_on = fitted.encoder_hash
        self.requires_grad_(False).eval()

    def forward(
        self,
        img: Tensor,
        img_ds: Tensor,
        return_embedding: bool = False,
        scale_score: bool = True,
        reference: Tensor | None = None,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Computes the quality scores of a batch of images.

        Args:
            img: N x 3 x H x W, ImageNet-normalised full-scale images of any size.
            img_ds: N x 3 x H' x W', the same images at half scale. If both inputs have the same size, as crops do,
                the encoder processes them as one batch.
            return_embedding: whether to also return the inputs of the regressor.
            scale_score: map the dataset's nominal range to [0, 1], where higher is better. Otherwise the score is in
                the dataset's units. The model is linear, so a score can be outside the range in both cases.
            reference: N x 4096, the embeddings of the reference images (`embed`). Required for a full-reference model,
                an error for others.

        Returns:
            N scores; with `return_embedding`, also the N x 4096 inputs of the regressor: `embed` of the images, or its
            absolute difference to `reference`.

        Raises:
            ImageError: `reference` is missing, or the model takes none.
        """
        inputs = self.regressor_inputs(self.embed(img, img_ds), reference)
        score = self.regress(inputs, scale_score)
        return (score, inputs) if return_embedding else score

    def regressor_inputs(self, embedding: Tensor, reference: Tensor | None) -> Tensor:
        """Returns the inputs of the regressor: `embedding`, or its absolute difference to that of the reference.

        Args:
            embedding: ... x 4096, embeddings of images.
            reference: the same of their references, in a shape that broadcasts.

        Raises:
            ImageError: `reference` is missing, or the model takes none.
        """
        if (reference is not None) != self.full_reference:
            needed = "missing; this model" if self.full_reference else "found one; only a full-reference model"
            raise ImageError(f"reference: {needed} compares images with a reference")
        return embedding if reference is None else (reference - embedding).abs()

    def regress(self, inputs: Tensor, scale_score: bool = True) -> Tensor:
        """Applies the regressor to its inputs: ... x 4096 -> ... scores; `scale_score` as in `forward`."""
        # Multiply and sum instead of calling the layer: autocast would run the layer in reduced precision.
        score = (inputs * self.regressor.weight[0]).sum(dim=-1) + self.regressor.bias
        return self._scale(score) if scale_score else score

    def score(
        self, images: OneImage | Sequence[OneImage], crops: str = "five", reference: OneImage | None = None
    ) -> Tensor:
        """Scores images as `single_image_inference.py` does.

        Paths, PIL images and uint8 tensors are resized by Pillow. Float tensors are resized by PyTorch, so the score
        has a gradient: `1 - model.score(restored)` is a loss. The difference is small (docs/fidelity.md). On CUDA,
        PyTorch's settings apply: by default, convolutions use TF32, while the script uses float32.

        Args:
            images: a path (str or Path), a PIL image or an RGB tensor, 3 x H x W or N x 3 x H x W, of uint8 values in
                0..255 or floats in [0, 1], not normalised; or a list or tuple of these, with any mix of sizes and
                types. Images must be at least 32 x 32 pixels. Tensors are on any device. An EXIF rotation is not
                applied, an alpha channel is dropped. If `shorter_side` is set, images are first resized to it.
            crops: "five": mean over the centre crop and the four corner crops of `crop_size`, as in the paper;
                "whole": the whole image (memory grows with its size).
            reference: reference image of all `images`, of the same size; required for a full-reference model, an error
                for others.

        Returns:
            On the model's device: a tensor without dimensions for one image, N scores for a batch or a list. They are
            scaled as in `forward`: from about 0 (bad) to 1 (good), not clipped.

        Raises:
            ImageError: an image cannot be read or is invalid, or an argument is invalid. The message is one line.
        """
        items, single = one_by_one(images)
        scores = torch.cat([self.regress(part).mean(dim=1) for part in self.read_and_embed(items, crops, reference)])
        return scores[0] if single else scores

    def preprocessing(self, crops: str = "five") -> Preprocessing:
        """Returns the preprocessing of an image for "five" or "whole" `crops`.

        Raises:
            ImageError: `crops` is something else.
        """
        if crops not in ("five", "whole"):
            raise ImageError(f"crops: found {crops!r}; allowed: 'five', 'whole'")
        return Preprocessing(self.crop_size if crops == "five" else None, self.shorter_side)

    def read_and_embed(self, items: Sequence[Named], crops: str, reference: OneImage | None = None) -> Iterator[Tensor]:
        """Yields the inputs of the regressor for the images of a batch: n x k x 4096 for n images with k crops each.

        Args:
            items: images of `one_by_one`.
            crops, reference: as for `score`, like the errors.
        """
        against, expected = None, None
        if reference is not None:
            references, one = one_by_one(reference, "reference")
            if not one:
                raise ImageError("reference: found several images; give one")
            full, half, expected = self._views(*references[0], crops)
            against = self.embed_crops(full.unsqueeze(0), half.unsqueeze(0))
        step = BATCH if crops == "five" else 1  # whole images differ in size
        for start in range(0, len(items), step):
            pairs = []
            for name, image in items[start : start + step]:
                full, half, pixels = self._views(name, image, crops)
                if expected not in (None, pixels):
                    raise ImageError(f"{name}: {pixels} pixels; the reference has {expected}")
                pairs.append((full, half))
            full, half = map(torch.stack, zip(*pairs, strict=True))
            yield self.regressor_inputs(self.embed_crops(full, half), against)

    def crop_scores(self, image: OneImage) -> Tensor:
        """Scores the five crops of one image, in the order of `preprocess.CROP_NAMES`; `score` is their mean."""
        ((name, one),) = one_by_one(image)[0]
        full, half, _ = self._views(name, one, "five")
        return self.score_crops(full.unsqueeze(1), half.unsqueeze(1))

    def quality_map(self, image: OneImage, batch_size: int = 20) -> Tensor:
        """Computes the local quality of one image: at each pixel, the mean score of the sliding crops that contain it.

        Crops of `crop_size` overlap by half. The score of a position is computed from the full-scale crop and the
        half-scale crop with the same centre. A half-scale crop that would leave the image is shifted back into it.

        Args:
            image: one image, as for `score`.
            batch_size: positions per batch.

        Returns:
            H x W float64, on the CPU, for the image after the resize to `shorter_side`.
        """
        ((name, one),) = one_by_one(image)[0]
        c, (full, half) = self.crop_size, two_scales(self._picture(name, one), self.shorter_side)
        (width, height), (half_width, half_height) = size(full), size(half)

        def centred(centre: int, side: int) -> int:
            return min(max(0, centre - c // 2), max(0, side - c))

        places = list(product(_positions(height, c), _positions(width, c)))
        total, count = torch.zeros(2, height, width, dtype=torch.float64)
        for start in range(0, len(places), batch_size):
            batch = places[start : start + batch_size]
            crops = torch.stack([crop_at(full, x, y, c) for y, x in batch])
            halves = [
                crop_at(half, centred((x + c // 2) // 2, half_width), centred((y + c // 2) // 2, half_height), c)
                for y, x in batch
            ]
            scores = self.score_crops(crops.unsqueeze(1), torch.stack(halves).unsqueeze(1)).double().cpu()
            for (y, x), score in zip(batch, scores, strict=True):
                total[y : y + c, x : x + c] += score
                count[y : y + c, x : x + c] += 1
        return total / count

    def score_crops(self, full: Tensor, half: Tensor) -> Tensor:
        """Scores N images with k crops each: the mean over an image's crops.

        Args:
            full: N x k x 3 x H x W, uint8 in 0..255 or floats in [0, 1], on any device: the crops at full scale.
            half: N x k x 3 x H' x W', the crops at half scale.

        Returns:
            N scores.
        """
        return self.regress(self.regressor_inputs(self.embed_crops(full, half), None)).mean(dim=1)

    def embed_crops(self, full: Tensor, half: Tensor) -> Tensor:
        """Returns the N x k x 4096 embeddings of N images with k crops each; `full` and `half` as in `score_crops`."""
        weight = self.regressor.weight
        crops = (normalize(scale.flatten(0, 1).to(weight.device)).to(weight.dtype) for scale in (full, half))
        return self.embed(*crops).unflatten(0, full.shape[:2])

    def _views(self, name: str, image: OneImage, crops: str) -> tuple[Tensor, Tensor, str]:
        """Returns k x 3 x H x W crops at both scales, floats on the model's device, and the image size as text."""
        picture, device = self._picture(name, image), self.regressor.weight.device
        full, half = (to_unit(scale.to(device)) for scale in two_scale_crops(picture, *self.preprocessing(crops)))
        return full, half, "{} x {}".format(*size(picture))

    def _picture(self, name: str, image: OneImage) -> Image.Image | Tensor:
        """Reads an image for `two_scales`: an RGB Pillow image, or a float tensor on the model's device."""
        weight = self.regressor.weight
        picture = read(image, name)
        if isinstance(picture, Tensor):
            # PyTorch cannot resize 16-bit floats on the CPU.
            return picture.to(weight.device, torch.promote_types(weight.dtype, torch.float32))
        return picture

    def embed(self, img: Tensor, img_ds: Tensor) -> Tensor:
        """Returns the N x 4096 embedding [f(img), f(img_ds)] of images; see `forward` for the inputs."""
        if img.ndim != 4 or img_ds.ndim != 4 or img.shape[:2] != img_ds.shape[:2] or img.shape[1] != 3:
            raise ValueError(
                f"expected N x 3 x H x W images at two scales, got {tuple(img.shape)}, {tuple(img_ds.shape)}"
            )
        if img.shape[2:] == img_ds.shape[2:]:
            full, half = self._features(torch.cat([img, img_ds])).chunk(2)
        else:
            full, half = self._features(img), self._features(img_ds)
        return torch.hstack([full, half]).to(self.regressor.weight.dtype)

    def percentile(self, score: Number) -> Number | None:
        """Returns the percentage of the regressor's dataset with a lower score.

        It is interpolated between the quantiles of the dataset's scores; `score_kind` is the kind of these scores.

        Args:
            score: a number or a tensor of any shape, from `forward` with `scale_score`.

        Returns:
            A number in [0, 100], or a float32 tensor of the same shape: 0 below all scores, 100 above them. None if the
            dataset's scores are not known, as for the released KonIQ-10k regressor.
        """
        if self.score_quantiles is None:
            return None
        scores = torch.as_tensor(score).detach().float().cpu().numpy()
        quantiles = np.array(self.score_quantiles, np.float32)
        # Many images may have the same score. `np.interp` uses the last of equal quantiles; negated, the first.
        above = np.interp(-scores, -quantiles[::-1], np.linspace(0, 100, len(quantiles)))
        if isinstance(score, Tensor):
            return torch.as_tensor(100 - above, dtype=torch.float32, device=score.device)
        return 100 - float(above)

    def _features(self, images: Tensor) -> Tensor:
        return self.encoder.features(images.contiguous(memory_format=torch.channels_last))

    def _scale(self, score: Tensor) -> Tensor:
        """Maps the dataset's range to [0, 1]; a DMOS is flipped so that higher is better."""
        low, high = self.mos_range
        scaled = (score - low) / (high - low)
        return 1 - scaled if self.mos_type == "dmos" else scaled


def _positions(side: int, crop_size: int) -> list[int]:
    """Returns the start positions of half-overlapping crops that cover 0..side; the last crop ends at `side`."""
    last = max(0, side - crop_size)
    return [*range(0, last, max(1, crop_size // 2)), last]
