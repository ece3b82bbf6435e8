"""Features of a dataset's crops, extracted once per encoder and cached on disk."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.utils.data import DataLoader, Dataset

from models.errors import UserError
from models.experiment import FEATURES
from models.image_file import check_header
from models.preprocess import normalize
from models.regressor import EMBEDDING_DIM
from utils.config.keys import TestSection
from utils.evaluation.dataset import ScoredDataset
from utils.evaluation.feature_file import CROPS, FeatureFile
from utils.runtime.device import precision_context
from utils.runtime.distributed import (
    broadcast_from_rank0,
    gather_objects,
    is_rank0,
    progress_bar,
    raise_on_all_ranks,
    rank,
    world_size,
)
from utils.runtime.files import locked
from utils.runtime.workers import batches as loaded_batches
from utils.runtime.workers import ignore_signals, worker_count

FEATURES_VERSION = 3  # raise it when a change to the code changes the features
NAMED = 3  # maximum number of images that a message names; it counts the others


def cached_features(
    encoder: nn.Module,
    dataset: ScoredDataset,
    settings: TestSection,
    device: torch.device,
    encoder_hash: str,
    cache_dir: Path = FEATURES,
) -> tuple[NDArray[np.float32] | None, list[int]]:
    """Returns the features of every image's five crops, [f(full_k), f(half_k)] for crop k: (N, 5, 4096) (paper 4.2).

    They are cached in a `FeatureFile`, and only images without cached features are read and encoded. So an extraction
    continues after an interruption or after unreadable images were replaced. With several ranks, each encodes its
    share of every batch, and rank 0 writes the file.

    Args:
        encoder: encoder in evaluation mode; its method `features` maps normalised images M x 3 x c x c to M x 2048.
        dataset: dataset to encode.
        settings: `batch_size` (images per process and batch, with ten crops each), `num_workers`, and the `precision`
            of the encoder's arithmetic. The features are float32 in any case.
        device: compute device of the encoder.
        encoder_hash: hash of the encoder's weights.
        cache_dir: folder of the cache; `cache_key` is the file name.

    Returns:
        The features, memory-mapped, on rank 0 (None on the other ranks), and the indices of the images with truncated
        files.

    Raises:
        UserError: images cannot be read, the features of an image are not finite, there are no images, or the file
            cannot be written.
    """
    if len(dataset) == 0:
        raise UserError(f"{dataset.name}: has no images; nothing can be evaluated on it")
    path = cache_dir / f"{cache_key(dataset, encoder_hash, settings.precision)}.float32"
    with ExitStack() as locks:
        with raise_on_all_ranks():
            if is_rank0():
                wait = f"waiting for another process that extracts {path.name}" if world_size() == 1 else ""
                locks.enter_context(locked(path, wait))  # several ranks do not wait longer than a collective may
            file = FeatureFile(path, dataset.images) if is_rank0() else None
            missing = file.missing() if file else []
            check_images(dataset, missing)
        missing = broadcast_from_rank0(missing)
        for rows, batch, truncated in _encode(encoder, dataset, settings, device, missing):
            with raise_on_all_ranks():
                if file:
                    file.write(rows, batch, truncated)
        with raise_on_all_ranks():
            features = file.read() if file else None
        return features, broadcast_from_rank0(file.truncated() if file else [])


def cache_key(dataset: ScoredDataset, encoder_hash: str, precision: str) -> str:
    """Returns the name of a dataset's cache file: a hash of all that the features depend on, except the images."""
    size = f"{dataset.crop_size} {dataset.shorter_side}"
    text = f"{FEATURES_VERSION} {encoder_hash} {dataset.annotation_hash} {size} {precision}"
    return f"{dataset.name}_{encoder_hash}_{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def forget_features(cache_dir: Path, encoder_hash: str) -> None:
    """Removes the cached features of an encoder, except files that another process is writing or, on Windows, maps."""
    for path in cache_dir.glob(f"*_{encoder_hash}_*.float32"):
        with suppress(UserError, OSError), locked(path, patience=0):
            FeatureFile(path, []).remove()


def check_images(dataset: ScoredDataset, numbers: Iterable[int]) -> list[tuple[int, int]]:
    """Checks images by their headers, in less than a hundredth of the time of decoding them.

    Returns:
        Width and height of each image, in pixels.

    Raises:
        UserError: an image is missing or is not an image file.
    """
    sizes, messages = [], []
    for number in numbers:
        try:
            sizes.append(check_header(dataset.images[number]))
        except UserError as error:
            messages.append(str(error))
    _refuse_unreadable(dataset, messages)
    return sizes


def truncated_note(dataset: ScoredDataset, truncated: Sequence[int]) -> list[str]:
    """Returns one line about the dataset's truncated images, or an empty list without any."""
    if not truncated:
        return []
    names = _first([dataset.images[number].name for number in truncated], ", ")
    return [f"{len(truncated)} of {len(dataset)} images are truncated; only the intact part was read: {names}"]


def _refuse_unreadable(dataset: ScoredDataset, messages: Sequence[str]) -> None:
    if messages:
        raise UserError(
            f"{dataset.name}: {len(messages)} of {len(dataset)} images cannot be read; replace them with intact "
            f"files: {_first(messages, '; ')}"
        )


def _first(texts: Sequence[str], separator: str) -> str:
    rest = [f"and {len(texts) - NAMED} more"] if len(texts) > NAMED else []
    return separator.join([*texts[:NAMED], *rest])


class _Part(NamedTuple):
    """One rank's part of a batch: features (n, 5, 4096), image indices, and messages about unreadable images."""

    features: NDArray[np.float32] = np.zeros((0, CROPS, EMBEDDING_DIM), np.float32)
    numbers: list[int] = []
    truncated: list[int] = []
    errors: list[str] = []


class _Readable(Dataset):
    """Dataset that adds the key `error`: the message for an unreadable image (its crops are zeros), else empty.

    So an unreadable image does not end the extraction before the features of the others are extracted.
    """

    def __init__(self, dataset: ScoredDataset) -> None:
        self.dataset = dataset

    def __getitem__(self, index: int) -> dict[str, Any]:
        try:
            return {**self.dataset[index], "error": ""}
        except UserError as error:
            zeros = torch.zeros(CROPS, 3, self.dataset.crop_size, self.dataset.crop_size, dtype=torch.uint8)
            return {"full": zeros, "half": zeros, "index": index, "truncated": False, "error": str(error)}


def _encode(
    encoder: nn.Module,
    dataset: ScoredDataset,
    settings: TestSection,
    device: torch.device,
    numbers: Sequence[int],
) -> Iterator[tuple[list[int], NDArray[np.float32], list[int]]]:
    """Yields the features of the images with these indices, one batch of every rank at a time.

    Yields:
        The indices of the n readable images of the batch, their features (n, 5, 4096), and the indices of truncated
        images.

    Raises:
        UserError: see `cached_features`; unreadable images raise it after all other images are encoded.
    """
    size = settings.batch_size
    batches = [numbers[i : i + size] for i in range(0, len(numbers), size)]
    loader: DataLoader = DataLoader(
        _Readable(dataset),
        batch_sampler=batches[rank() :: world_size()],  # type: ignore[arg-type]
        num_workers=worker_count(settings.num_workers),
        pin_memory=device.type == "cuda",
        worker_init_fn=ignore_signals,
    )
    encoder.to(device)
    loaded = loaded_batches(loader)
    unreadable: list[str] = []
    with progress_bar(f"features of {dataset.name}", len(dataset), len(dataset) - len(numbers), "image") as bar:
        for step in range(0, len(batches), world_size()):
            part = _Part()
            with raise_on_all_ranks():
                if step + rank() < len(batches):
                    batch = next(loaded)
                    with precision_context(settings.precision, device):
                        part = _encode_batch(encoder, batch, device)
            parts = gather_objects(part)
            features = np.concatenate([each.features for each in parts])
            rows = [number for each in parts for number in each.numbers]
            errors = [error for each in parts for error in each.errors]
            finite = np.isfinite(features).all(axis=(1, 2))
            if not finite.all():
                image = dataset.images[rows[int(np.argmin(finite))]]
                raise UserError(f"{dataset.name}: the features of {image} are not finite; check the encoder's weights")
            bar.update(len(rows) + len(errors))
            unreadable += errors
            yield rows, features, [number for each in parts for number in each.truncated]
    _refuse_unreadable(dataset, unreadable)


@torch.inference_mode()
def _encode_batch(encoder: nn.Module, batch: dict[str, Any], device: torch.device) -> _Part:
    """Encodes n x 5 x 3 x c x c crops at both scales: n x 5 x 4096 features of the readable images."""
    scales = []
    for crops in (batch["full"], batch["half"]):
        flat = crops.flatten(0, 1).to(device, memory_format=torch.channels_last, non_blocking=True)
        scales.append(encoder.features(normalize(flat)).float())  # type: ignore[operator]
    features = torch.cat(scales, dim=1).unflatten(0, (-1, CROPS)).cpu().numpy()
    readable = np.array([not error for error in batch["error"]])
    numbers = batch["index"].numpy()[readable]
    truncated = numbers[batch["truncated"].numpy()[readable]]
    return _Part(features[readable], numbers.tolist(), truncated.tolist(), [error for error in batch["error"] if error])
