"""Features of a dataset's crops, extracted once for an encoder and kept on disk."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader

from utils.errors import UserError
from utils.runtime.distributed import from_main, is_main, on_main, rank, shared_failure, world_size
from utils.runtime.files import GrowingFile, locked, write_text
from utils.runtime.progress import progress_bar
from utils.runtime.workers import batches as loaded_batches
from utils.runtime.workers import leave_stopping_to_parent, worker_count

FEATURES_VERSION = 1  # raise it when a change to the code changes the features
CROPS = 5
EMBEDDING_DIM = 4096  # as in models/weights.py: 2048 features of the full-scale crop, then 2048 of the half-scale crop
ROW = CROPS * EMBEDDING_DIM * 4  # bytes of an image's features in a file


class CropDataset(Protocol):
    """A dataset whose item i is a dict with `full` and `half`, 5 x 3 x c x c each, normalised."""

    images: list[Path]
    crop_size: int

    @property
    def name(self) -> str: ...
    @property
    def annotation_hash(self) -> str: ...
    def __len__(self) -> int: ...
    def __getitem__(self, index: int) -> dict[str, Any]: ...


def extract_features(
    encoder: nn.Module, dataset: CropDataset, batch_size: int, num_workers: int, device: torch.device
) -> NDArray[np.float32]:
    """Features of every image's five crops, [f(full_k), f(half_k)] for crop k: (N, 5, 4096) (paper 4.2).

    With several processes, each encodes its share of every batch and all get the whole result.

    Args:
        encoder: its method `features` maps M x 3 x c x c to M x 2048. It is used in evaluation mode; its own mode is
            restored afterwards.
        dataset: whose crops to encode.
        batch_size: images that a process encodes at once, with ten crops each.
        num_workers: data-loading processes; 0 loads in the main one.
        device: of the encoder.

    Raises:
        UserError: an image cannot be read, the features of an image are not finite, or there are no images.
    """
    features = np.empty((len(dataset), CROPS, EMBEDDING_DIM), np.float32)
    done = 0
    for batch in _encode(encoder, dataset, batch_size, num_workers, device, start=0):
        features[done : done + len(batch)] = batch
        done += len(batch)
    return features


def cached_features(
    encoder: nn.Module,
    dataset: CropDataset,
    batch_size: int,
    num_workers: int,
    device: torch.device,
    cache_dir: Path,
    encoder_hash: str,
) -> NDArray[np.float32] | None:
    """`extract_features`, kept in a file that is memory-mapped; an interrupted extraction goes on where it stopped.

    With several processes only the first has the file and gets the features, because the others may be on machines that
    do not see its disk. They get None.

    Args:
        encoder, dataset, batch_size, num_workers, device: as for `extract_features`.
        cache_dir: folder for the file; `cache_key` names it.
        encoder_hash: identifies the encoder's weights.

    Raises:
        UserError: as `extract_features`, or the file cannot be written.
    """
    path = cache_dir / f"{on_main(lambda: cache_key(dataset, encoder_hash))}.float32"
    if not from_main(path.exists()):
        _extract_to_file(path, encoder, dataset, batch_size, num_workers, device)
    return _map(path, len(dataset)) if is_main() else None


def cache_key(dataset: CropDataset, encoder_hash: str) -> str:
    """Name for a dataset's features, made from everything that they depend on.

    The sizes and modification times of the image files represent their content.

    Raises:
        UserError: an image is missing.
    """
    digest = hashlib.sha256(f"{FEATURES_VERSION} {encoder_hash} {dataset.annotation_hash}".encode())
    digest.update(f" {dataset.crop_size}".encode())
    for path in dataset.images:
        try:
            about = path.stat()
            digest.update(f" {about.st_size} {about.st_mtime_ns}".encode())
        except OSError as error:
            raise UserError(f"{path}: not a readable image ({error.strerror})") from error
    return f"{dataset.name}_{encoder_hash}_{digest.hexdigest()[:16]}"


def _extract_to_file(
    path: Path,
    encoder: nn.Module,
    dataset: CropDataset,
    batch_size: int,
    num_workers: int,
    device: torch.device,
) -> None:
    """Appends the features to a file beside `path` and renames it once it is complete.

    The first process writes. A small text file says how many images are surely in it, because after a power cut a file
    may be longer than what reached the disk. If another program extracts the same features, this one waits for them.
    """
    partial, progress = path.with_suffix(".partial"), path.with_suffix(".progress")
    with ExitStack() as opened:
        with shared_failure():
            if is_main():
                opened.enter_context(locked(path, f"waiting for another process that extracts {path.name}"))
        if from_main(path.exists()):
            return
        file: GrowingFile | None = None
        with shared_failure():
            if is_main():
                file = opened.enter_context(GrowingFile(partial))
                file.truncate(_progress(partial, progress) * ROW)
        done = from_main(partial.stat().st_size // ROW if file else 0)
        for batch in _encode(encoder, dataset, batch_size, num_workers, device, start=done):
            done += len(batch)
            with shared_failure():
                if file:
                    file.append(batch.astype("<f4").tobytes())
                    write_text(progress, str(done))
        with shared_failure():
            if file:
                file.close()
                _rename(partial, path)
                progress.unlink(missing_ok=True)


def _rename(partial: Path, path: Path) -> None:
    try:
        partial.replace(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error})") from error


def _progress(partial: Path, progress: Path) -> int:
    """Images whose features an earlier, interrupted extraction left."""
    try:
        return max(0, min(int(progress.read_text()), partial.stat().st_size // ROW))
    except (OSError, ValueError):
        return 0


def _map(path: Path, images: int) -> NDArray[np.float32]:
    try:
        return np.memmap(path, "<f4", mode="r", shape=(images, CROPS, EMBEDDING_DIM))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: damaged or not readable ({error}); remove it to extract anew") from error


def _encode(
    encoder: nn.Module,
    dataset: CropDataset,
    batch_size: int,
    num_workers: int,
    device: torch.device,
    start: int,
) -> Iterator[NDArray[np.float32]]:
    """Yields the features of the images from `start` on, in order, one batch of every process at a time."""
    if len(dataset) == 0:
        raise UserError(f"{dataset.name}: has no images; nothing can be evaluated on it")
    batches = [range(i, min(i + batch_size, len(dataset))) for i in range(start, len(dataset), batch_size)]
    mine = batches[rank() :: world_size()]
    loader: DataLoader = DataLoader(
        dataset,  # type: ignore[arg-type]
        batch_sampler=mine,  # type: ignore[arg-type]
        num_workers=worker_count(num_workers),
        pin_memory=device.type == "cuda",
        worker_init_fn=leave_stopping_to_parent,
    )
    was_training = encoder.training
    encoder.to(device).to(memory_format=torch.channels_last).eval()
    loaded = loaded_batches(loader)
    try:
        with progress_bar(f"features of {dataset.name}", len(dataset), start, "image") as bar:
            for step in range(0, len(batches), world_size()):
                features = torch.zeros(0, CROPS, EMBEDDING_DIM, device=device)
                with shared_failure():
                    if step + rank() < len(batches):
                        features = _encode_next(encoder, loaded, device)
                together = _gather(features, batches[step : step + world_size()], batch_size)
                finite = np.isfinite(together).all(axis=(1, 2))
                if not finite.all():
                    image = dataset.images[batches[step][0] + int(np.argmin(finite))]
                    raise UserError(
                        f"{dataset.name}: the features of {image} are not finite; the encoder's weights are at fault"
                    )
                bar.update(len(together))
                yield together
    finally:
        encoder.train(was_training)


def _encode_next(encoder: nn.Module, loaded: Iterator[dict[str, Tensor]], device: torch.device) -> Tensor:
    try:
        return _encode_batch(encoder, next(loaded), device)
    except UserError as error:  # a worker's error begins with its traceback
        message = str(error).strip().splitlines()[-1].removeprefix("utils.errors.UserError: ")
        raise UserError(message) from error


@torch.inference_mode()
def _encode_batch(encoder: nn.Module, batch: dict[str, Tensor], device: torch.device) -> Tensor:
    """n x 5 x 3 x c x c at both scales -> n x 5 x 4096."""
    scales = []
    for crops in (batch["full"], batch["half"]):
        flat = crops.flatten(0, 1).to(device, memory_format=torch.channels_last, non_blocking=True)
        scales.append(encoder.features(flat).float())  # type: ignore[operator]
    return torch.cat(scales, dim=1).unflatten(0, (-1, CROPS))


def _gather(features: Tensor, batches: Sequence[range], batch_size: int) -> NDArray[np.float32]:
    """The batches of all processes in rank order. The last ones may be short, or missing on the later ranks."""
    if world_size() == 1:
        return features.cpu().numpy()
    padded = torch.zeros(batch_size, CROPS, EMBEDDING_DIM, device=features.device)
    padded[: len(features)] = features
    gathered = [torch.empty_like(padded) for _ in range(world_size())]
    dist.all_gather(gathered, padded)
    return torch.cat([g[: len(b)] for g, b in zip(gathered, batches, strict=False)]).cpu().numpy()
