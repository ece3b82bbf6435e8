"""The quality model with several regressors, which share one encoding of each image."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from .arniqa import ARNIQA
from .errors import WeightsError
from .hub_module import HubModule
from .inference_encoder import inference_encoder
from .inputs import OneImage, one_by_one
from .names import ALL
from .preprocess import Preprocessing
from .weights import datasets_with_regressor, load_weights


class MultiRegressorARNIQA(HubModule):
    """Quality model with D regressors: N images have N x D scores.

    An image is encoded once for each preprocessing that the regressors use. The arguments are those of `ARNIQA`.

    Args:
        regressor_dataset: several datasets, or "all": every dataset with a regressor in the release, in `weights_dir`
            or in the experiment.

    Attributes:
        regressor_dataset: tuple of the D datasets, in the order of the scores.
        models: the D models with one regressor each, which share their encoder.
        crop_size, shorter_side: tuples of these attributes of `models`. A number (or None) sets all of them.

    Raises:
        WeightsError: as for `ARNIQA`, or no dataset is given, or one twice, or "all" with others.
    """

    def __init__(
        self,
        regressor_dataset: str | Sequence[str],
        weights_dir: str | Path | None = None,
        experiment: str | Path | None = None,
        full_reference: bool = False,
    ) -> None:
        super().__init__()
        names = [regressor_dataset] if isinstance(regressor_dataset, str) else list(regressor_dataset)
        if names == [ALL]:
            names = datasets_with_regressor(weights_dir, experiment, full_reference)
        encoder, fitted = load_weights(names, weights_dir, experiment, full_reference)
        self.regressor_dataset = tuple(regressor.dataset for regressor in fitted)
        if not names or len(set(self.regressor_dataset)) < len(names):
            found = " ".join(self.regressor_dataset) or "no dataset"
            raise WeightsError(f"regressor_dataset: found {found}; allowed: different datasets, or {ALL}")
        shared = inference_encoder(encoder)
        models = nn.ModuleList(ARNIQA.from_parts(shared, regressor) for regressor in fitted)
        self.models: Sequence[ARNIQA] = models  # type: ignore[assignment]
        self.eval()

    def forward(
        self,
        img: Tensor,
        img_ds: Tensor,
        return_embedding: bool = False,
        scale_score: bool = True,
        reference: Tensor | None = None,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Computes N x D scores; arguments, the second returned value and errors are those of `ARNIQA.forward`."""
        inputs = self.models[0].regressor_inputs(self.models[0].embed(img, img_ds), reference)
        scores = torch.stack([model.regress(inputs, scale_score) for model in self.models], dim=1)
        return (scores, inputs) if return_embedding else scores

    def score(
        self, images: OneImage | Sequence[OneImage], crops: str = "five", reference: OneImage | None = None
    ) -> Tensor:
        """Scores images as `ARNIQA.score` does, with every regressor.

        Returns:
            D scores for one image, N x D for a batch or a list, in the order of `regressor_dataset`.
        """
        items, single = one_by_one(images)
        groups = self.preprocessings(crops).values()
        scores = self._scores(
            crops, (self.models[first].read_and_embed(items, crops, reference) for first, *_ in groups)
        )
        return scores[0] if single else scores

    def score_crops(
        self, views: Sequence[tuple[Tensor, Tensor]], crops: str = "five", references: Sequence[Tensor] | None = None
    ) -> Tensor:
        """Scores N images: N x D.

        Args:
            views: for each of `preprocessings(crops)`, the crops at both scales as for `ARNIQA.score_crops`.
            crops: "five" or "whole".
            references: for each preprocessing, the embedding of the reference image, 1 x k x 4096; only for a
                full-reference model.
        """
        first = self.models[0]
        against: Sequence[Tensor | None] = references or [None] * len(views)
        inputs = (
            [first.regressor_inputs(first.embed_crops(*view), one)] for view, one in zip(views, against, strict=True)
        )
        return self._scores(crops, inputs)

    def preprocessings(self, crops: str = "five") -> dict[Preprocessing, list[int]]:
        """Returns the preprocessings in use, and for each the indices of the models that use it."""
        groups: dict[Preprocessing, list[int]] = {}
        for number, model in enumerate(self.models):
            groups.setdefault(model.preprocessing(crops), []).append(number)
        return groups

    @property
    def crop_size(self) -> tuple[int, ...]:
        return tuple(model.crop_size for model in self.models)

    @crop_size.setter
    def crop_size(self, side: int) -> None:
        for model in self.models:
            model.crop_size = side

    @property
    def shorter_side(self) -> tuple[int | None, ...]:
        return tuple(model.shorter_side for model in self.models)

    @shorter_side.setter
    def shorter_side(self, side: int | None) -> None:
        for model in self.models:
            model.shorter_side = side

    def percentile(self, scores: Tensor | Sequence[float]) -> Tensor:
        """Returns `ARNIQA.percentile` of ... x D scores, in the same shape; NaN if a dataset's scores are not known."""
        scores = torch.as_tensor(scores)
        found = [model.percentile(score) for model, score in zip(self.models, scores.unbind(-1), strict=True)]
        unknown = torch.full(scores.shape[:-1], torch.nan, device=scores.device)
        return torch.stack([unknown if each is None else each for each in found], dim=-1)

    def _scores(self, crops: str, inputs: Iterable[Iterable[Tensor]]) -> Tensor:
        """Applies every regressor to its inputs: N x D.

        Args:
            crops: "five" or "whole".
            inputs: for each of `preprocessings(crops)`, the inputs of its regressors, in parts of n x k x 4096.
        """
        columns: dict[int, list[Tensor]] = {number: [] for number in range(len(self.models))}
        for group, parts in zip(self.preprocessings(crops).values(), inputs, strict=True):
            for part in parts:
                for index in group:
                    columns[index].append(self.models[index].regress(part).mean(dim=1))
        return torch.stack([torch.cat(column) for column in columns.values()], dim=1)


def quality_model(
    regressor_dataset: str | Sequence[str] = "kadid10k",
    weights_dir: str | Path | None = None,
    experiment: str | Path | None = None,
    full_reference: bool = False,
) -> ARNIQA | MultiRegressorARNIQA:
    """Returns the model of one dataset or, for a list of datasets or "all", of several."""
    single = isinstance(regressor_dataset, str) and regressor_dataset != ALL
    kind = ARNIQA if single else MultiRegressorARNIQA
    return kind(regressor_dataset, weights_dir, experiment, full_reference)  # type: ignore[arg-type]
