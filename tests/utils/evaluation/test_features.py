"""utils.evaluation.features with a small encoder instead of the ResNet."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.processes import on_two_ranks
from utils.errors import UserError
from utils.evaluation import features as module
from utils.evaluation.features import cache_key, cached_features, extract_features

CPU = torch.device("cpu")


class FakeEncoder(nn.Module):
    """M x 3 x c x c -> M x 2048: the mean of the crop times a different factor in each column."""

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(scale * (torch.arange(1, 2049.0) / 2048))
        self.dropout = nn.Dropout(0.9)
        self.images = 0

    def features(self, x: Tensor) -> Tensor:
        self.images += len(x)
        return self.dropout(x.mean(dim=(1, 2, 3))[:, None] * self.weight)


class FakeDataset:
    """The value of image i is i + k/10 in full-scale crop k, and -(i + k/10) in half-scale crop k."""

    name = "fake"
    annotation_hash = "abc"
    crop_size = 4

    def __init__(self, folder: Path, n: int, unreadable: int | None = None) -> None:
        self.images = [folder / f"{i}.png" for i in range(n)]
        self.unreadable = unreadable
        for image in self.images:
            if not image.exists():
                image.write_bytes(b"x")

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> dict[str, Any]:
        if index == self.unreadable:
            raise UserError(f"{self.images[index].name}: not a readable image")
        value = index + torch.arange(5.0) / 10
        full = value[:, None, None, None].expand(5, 3, 4, 4)
        return {"full": full, "half": -full, "index": index}


def expected(n: int) -> np.ndarray:
    value = (np.arange(n)[:, None] + np.arange(5) / 10)[..., None] * np.arange(1, 2049) / 2048
    return np.concatenate([value, -value], axis=2)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_values_and_order_are_correct_and_the_mode_is_restored(tmp_path: Path, num_workers: int) -> None:
    encoder = FakeEncoder().train()
    found = extract_features(encoder, FakeDataset(tmp_path, 7), 3, num_workers, CPU)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected(7), rtol=1e-5)
    assert encoder.training
    assert encoder.dropout.training


def test_the_second_extraction_reads_the_cache(tmp_path: Path) -> None:
    dataset, cache = FakeDataset(tmp_path, 7), tmp_path / "cache"
    cached_features(FakeEncoder(), dataset, 3, 0, CPU, cache, "hash")
    again = FakeEncoder()
    np.testing.assert_allclose(cached_features(again, dataset, 3, 0, CPU, cache, "hash"), expected(7), rtol=1e-5)
    assert again.images == 0


def test_an_interrupted_extraction_is_resumed(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    with pytest.raises(UserError, match=r"^5.png: not a readable image$"):
        cached_features(FakeEncoder(), FakeDataset(tmp_path, 8, unreadable=5), 2, 0, CPU, cache, "hash")
    partial = next(cache.glob("*.partial"))
    with partial.open("ab") as file:
        file.write(b"half a row")
    encoder = FakeEncoder()
    found = cached_features(encoder, FakeDataset(tmp_path, 8), 2, 0, CPU, cache, "hash")
    np.testing.assert_allclose(found, expected(8), rtol=1e-5)
    assert encoder.images == 4 * 10  # images 0 to 3 were cached
    assert not partial.exists()


def test_every_relevant_change_changes_the_cache_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = FakeDataset(tmp_path, 3)
    keys = {cache_key(dataset, "hash"), cache_key(dataset, "other")}
    for name, value in (("crop_size", 8), ("annotation_hash", "abd"), ("name", "fake2")):
        with monkeypatch.context() as patch:
            patch.setattr(dataset, name, value, raising=False)
            keys.add(cache_key(dataset, "hash"))
    with monkeypatch.context() as patch:
        patch.setattr(module, "FEATURES_VERSION", -1)
        keys.add(cache_key(dataset, "hash"))
    first = cache_key(dataset, "hash")
    assert first in keys
    dataset.images[1].write_bytes(b"another image")
    keys.add(cache_key(dataset, "hash"))
    before = dataset.images[2].stat()
    dataset.images[2].write_bytes(b"y")  # other content of the same size, a moment later
    os.utime(dataset.images[2], ns=(before.st_atime_ns, before.st_mtime_ns + 1_000_000))
    keys.add(cache_key(dataset, "hash"))
    assert len(keys) == 8


def test_a_damaged_cache_gives_a_message_with_its_path(tmp_path: Path) -> None:
    dataset = FakeDataset(tmp_path, 3)
    path = tmp_path / f"{cache_key(dataset, 'hash')}.float32"
    path.write_bytes(b"cut")
    with pytest.raises(UserError, match="damaged") as error:
        cached_features(FakeEncoder(), dataset, 2, 0, CPU, tmp_path, "hash")
    assert str(path) in str(error.value)


def test_a_cache_folder_that_is_a_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("", encoding="utf-8")
    with pytest.raises(UserError, match="cannot be written"):
        cached_features(FakeEncoder(), FakeDataset(tmp_path, 3), 2, 0, CPU, tmp_path / "cache", "hash")


@pytest.mark.parametrize("num_workers", [0, 1])
def test_an_unreadable_image_gives_a_one_line_message(tmp_path: Path, num_workers: int) -> None:
    with pytest.raises(UserError, match=r"^5.png: not a readable image$"):
        extract_features(FakeEncoder(), FakeDataset(tmp_path, 8, unreadable=5), 2, num_workers, CPU)


def test_error_for_non_finite_features_names_the_image(tmp_path: Path) -> None:
    encoder = FakeEncoder(scale=0.9e38)  # overflows from image 4 on
    with pytest.raises(UserError, match=r"fake: the features of .*4\.png are not finite"):
        extract_features(encoder, FakeDataset(tmp_path, 8), 3, 0, CPU)


def test_an_empty_dataset_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="fake: has no images"):
        extract_features(FakeEncoder(), FakeDataset(tmp_path, 0), 3, 0, CPU)


def _on_rank(rank: int, folder: Path, unreadable: int | None) -> None:
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2"}
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/rendezvous", rank=rank, world_size=2)
    try:
        for n in (7, 9):  # the last batch is smaller on one rank and missing on the other
            dataset = FakeDataset(folder, n, unreadable)
            np.testing.assert_allclose(extract_features(FakeEncoder(), dataset, 2, 0, CPU), expected(n), rtol=1e-5)
            cache = folder / f"machine{rank}" / f"cache{n}"  # each process on a machine of its own
            found = cached_features(FakeEncoder(), dataset, 2, 0, CPU, cache, "hash")
            if rank == 0:
                np.testing.assert_allclose(found, expected(n), rtol=1e-5)
            else:
                assert found is None and not cache.exists()
    except UserError as error:
        (folder / f"error{rank}").write_text(str(error), encoding="utf-8")
    finally:
        torch.distributed.destroy_process_group()


@pytest.mark.skipif(not torch.distributed.is_gloo_available(), reason="PyTorch without gloo")
def test_two_processes_give_the_same_result(tmp_path: Path) -> None:
    on_two_ranks(_on_rank, tmp_path, None)
    assert not list(tmp_path.glob("error*"))
    assert len(list(tmp_path.glob("machine0/cache*/*.float32"))) == 2


@pytest.mark.skipif(not torch.distributed.is_gloo_available(), reason="PyTorch without gloo")
def test_an_error_on_one_process_is_raised_on_both(tmp_path: Path) -> None:
    on_two_ranks(_on_rank, tmp_path, 2)
    errors = [(tmp_path / f"error{rank}").read_text(encoding="utf-8") for rank in (0, 1)]
    assert errors == ["2.png: not a readable image"] * 2
