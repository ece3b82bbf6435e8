"""utils.evaluation.features with a small encoder instead of the ResNet."""

import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from models.errors import UserError
from models.preprocess import denormalize
from tests.processes import on_two_ranks, one_at_a_time
from utils.config import keys
from utils.evaluation import features as module
from utils.evaluation.features import cache_key, cached_features, forget_features

CPU = torch.device("cpu")


class FakeEncoder(nn.Module):
    """M x 3 x c x c -> M x 2048: the crop's mean, in 0..255, times a different factor in each column."""

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(scale * (torch.arange(1, 2049.0) / 2048))
        self.images = 0

    def features(self, x: Tensor) -> Tensor:
        self.images += len(x)
        return 255 * denormalize(x).mean(dim=(1, 2, 3))[:, None] * self.weight


class FakeDataset:
    """The value of image i is 10 i + k in full-scale crop k, and twice as much in half-scale crop k.

    The pixels of the unreadable images are broken, not their headers.
    """

    name = "fake"
    annotation_hash = "abc"
    crop_size = 4
    shorter_side = None

    def __init__(self, folder: Path, n: int, unreadable: Collection[int] = (), truncated: Collection[int] = ()) -> None:
        self.images = [folder / f"{i}.png" for i in range(n)]
        self.unreadable, self.truncated = unreadable, truncated
        for image in self.images:
            if not image.exists():
                Image.new("RGB", (4, 4)).save(image)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> dict[str, Any]:
        if index in self.unreadable:
            raise UserError(f"{self.images[index].name}: not a readable image")
        value = 10 * index + torch.arange(5, dtype=torch.uint8)
        full = value[:, None, None, None].expand(5, 3, 4, 4)
        return {"full": full, "half": 2 * full, "index": index, "truncated": index in self.truncated}


def settings(batch_size: int, num_workers: int = 0) -> keys.TestSection:
    return keys.TestSection(batch_size=batch_size, num_workers=num_workers)


def expected(n: int) -> np.ndarray:
    value = (10 * np.arange(n)[:, None] + np.arange(5))[..., None] * np.arange(1, 2049) / 2048
    return np.concatenate([value, 2 * value], axis=2)


def assert_expected(found: np.ndarray | None, n: int) -> None:
    assert found is not None and found.dtype == np.float32
    np.testing.assert_allclose(found, expected(n), rtol=1e-5, atol=1e-3)


def cached(
    dataset: FakeDataset, cache: Path, encoder: FakeEncoder | None = None, key: str = "hash", num_workers: int = 0
) -> tuple[np.ndarray, list[int], int]:
    """Features, truncated images, and the number of images that were encoded."""
    encoder = encoder or FakeEncoder()
    found, truncated = cached_features(encoder, dataset, settings(2, num_workers), CPU, key, cache)
    assert found is not None
    return found, truncated, encoder.images // 10


@pytest.mark.parametrize("num_workers", [0, 2])
def test_values_and_order_are_correct_and_kept(tmp_path: Path, num_workers: int) -> None:
    dataset = FakeDataset(tmp_path, 7, truncated=(1, 5))
    for encoded in (7, 0):
        found, truncated, images = cached(dataset, tmp_path / "cache", num_workers=num_workers)
        assert_expected(found, 7)
        assert truncated == [1, 5]  # also where no image is read
        assert images == encoded


def test_only_images_that_have_changed_are_encoded_again(tmp_path: Path) -> None:
    dataset = FakeDataset(tmp_path, 8, truncated=(2, 4))
    cached(dataset, tmp_path / "cache")
    before = dataset.images[2].stat()
    os.utime(dataset.images[2], ns=(before.st_atime_ns, before.st_mtime_ns + 1_000_000))  # of the same size
    Image.new("RGB", (40, 40)).save(dataset.images[5])
    found, truncated, images = cached(FakeDataset(tmp_path, 8), tmp_path / "cache")
    assert_expected(found, 8)
    assert images == 2
    assert truncated == [4]  # image 2 was replaced by a whole file


def test_all_unreadable_images_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError) as error:
        cached(FakeDataset(tmp_path, 12, unreadable=(1, 3, 7, 8, 9)), tmp_path / "cache")
    line = str(error.value)
    assert line.startswith("fake: 5 of 12 images cannot be read") and "\n" not in line
    assert all(name in line for name in ("1.png", "3.png", "7.png", "and 2 more"))


def test_each_encoder_precision_size_and_annotation_has_its_own_features(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = FakeDataset(tmp_path, 3)
    pairs = (("hash", "float32"), ("other", "float32"), ("hash", "bfloat16"))
    keys = {cache_key(dataset, *pair) for pair in pairs}
    changes = (("crop_size", 8), ("shorter_side", 512), ("annotation_hash", "abd"), ("name", "fake2"))
    for owner, name, value in (*((dataset, *change) for change in changes), (module, "FEATURES_VERSION", -1)):
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, value)
            keys.add(cache_key(dataset, "hash", "float32"))
    assert len(keys) == 8


def test_a_cut_or_deleted_cache_is_extracted_anew(tmp_path: Path) -> None:
    dataset, cache = FakeDataset(tmp_path, 3), tmp_path / "cache"
    cached(dataset, cache)
    (path,) = cache.glob("*.float32")
    path.write_bytes(path.read_bytes()[:-1])
    for _ in range(2):
        found, _, images = cached(dataset, cache)
        assert_expected(found, 3)
        assert images == 3
        del found  # Windows deletes no mapped file
        path.unlink()


def test_the_features_of_one_encoder_are_forgotten(tmp_path: Path) -> None:
    dataset = FakeDataset(tmp_path, 3)
    for key in ("hash", "other"):
        cached(dataset, tmp_path / "cache", key=key)
    forget_features(tmp_path / "cache", "hash")
    assert cached(dataset, tmp_path / "cache", key="hash")[2] == 3
    assert cached(dataset, tmp_path / "cache", key="other")[2] == 0


def test_features_are_not_forgotten_while_another_process_extracts_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They came back as zeros."""
    cache = tmp_path / "cache"
    monkeypatch.setattr("utils.runtime.files.PATIENCE", 0)

    class Meanwhile(FakeEncoder):
        def features(self, x: Tensor) -> Tensor:
            forget_features(cache, "hash")
            return super().features(x)

    assert_expected(cached(FakeDataset(tmp_path, 7), cache, Meanwhile())[0], 7)
    assert cached(FakeDataset(tmp_path, 7), cache)[2] == 0


def test_error_for_non_finite_features_names_the_image(tmp_path: Path) -> None:
    encoder = FakeEncoder(scale=4.5e36)  # overflows from image 4 on
    with pytest.raises(UserError, match=r"fake: the features of .*4\.png are not finite"):
        cached_features(encoder, FakeDataset(tmp_path, 8), settings(3), CPU, "hash", tmp_path)


def _on_rank(rank: int, folder: Path) -> None:
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2"}
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    for n in (7, 9):  # the last batch is smaller on one rank and missing on the other
        dataset = FakeDataset(folder, n, truncated=(0, 3, 6))
        for machine in (0, rank):  # one machine, then two
            cache = folder / f"machine{machine}" / f"cache{n}"
            found, truncated = cached_features(FakeEncoder(), dataset, settings(2), CPU, "hash", cache)
            assert truncated == [0, 3, 6]
            if rank == 0:
                assert_expected(found, n)
            else:
                assert found is None and cache.exists() == (machine == 0)
    with pytest.raises(UserError) as error:  # the images of all processes are named on each
        cached_features(FakeEncoder(), FakeDataset(folder, 7, (1, 2)), settings(2), CPU, "hash", folder / "none")
    assert "2 of 7" in str(error.value)
    assert str(error.value).endswith(": 1.png: not a readable image; 2.png: not a readable image")
    torch.distributed.destroy_process_group()


@one_at_a_time
@pytest.mark.skipif(not torch.distributed.is_gloo_available(), reason="PyTorch without gloo")
def test_two_processes_give_the_same_result_and_the_same_error(tmp_path: Path) -> None:
    on_two_ranks(_on_rank, tmp_path)
    assert len(list(tmp_path.glob("machine0/cache*/*.float32"))) == 2
