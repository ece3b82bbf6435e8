"""Scores that cannot be right, agreement, and lists of files. tests/test_single_image_inference.py has the rest."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from PIL import Image
from torch import Tensor

from models.errors import UserError
from models.preprocess import Preprocessing
from tests.processes import on_two_ranks, one_at_a_time, standard_input
from utils.evaluation.inference import Score, open_list, score_images


class Overflowing:
    """Scores black images 1 and 2, all others 1 and infinity."""

    def preprocessings(self, crops: str) -> dict[Preprocessing, list[int]]:
        return {Preprocessing(16, None): [0, 1]}

    def score_crops(self, views: list[tuple[Tensor, Tensor]], crops: str, references: None) -> Tensor:
        dark = views[0][0].float().mean(dim=(1, 2, 3, 4)) < 10
        return torch.stack([torch.ones(len(dark)), torch.where(dark, 2.0, torch.inf)], dim=1)

    def percentile(self, scores: Tensor) -> Tensor:
        return torch.stack([torch.full(scores.shape[:1], torch.nan), scores[:, 1] / 4], dim=1)


def test_a_score_that_is_not_finite_is_an_error_of_that_image(tmp_path: Path) -> None:
    for name in ("black", "white"):
        Image.new("RGB", (40, 40), name).save(tmp_path / f"{name}.png")
    paths = [tmp_path / "white.png", tmp_path / "no.png", tmp_path / "black.png"]
    (found,) = score_images(Overflowing(), paths)
    white, missing, black = found
    assert black == Score(paths[2], (1.0, 2.0), (None, 0.5)) and black.agreement == (0.5, 0.5, 0.5)
    assert white.values == () and white.agreement is None and "white.png: the score is not finite" in white.error
    assert "no.png: not a readable image (no such file)" in missing.error


def test_agreement_is_of_the_known_percentiles() -> None:
    assert Score(Path("a"), (0.1, 0.2, 0.3, 0.4), (30.0, None, 10.0, 50.0)).agreement == (30, 10, 50)
    assert Score(Path("a"), (0.1,), (None,)).agreement is None


def test_a_list_has_a_file_a_line(tmp_path: Path) -> None:
    content = b"\xef\xbb\xbfa.png\r\n\nsub/ b.png \n\xff.png"
    expected = [Path("a.png"), Path("sub/ b.png "), Path("\udcff.png")]
    (tmp_path / "list.txt").write_bytes(content)
    assert list(open_list(tmp_path / "list.txt")) == expected
    with standard_input(content):
        assert list(open_list(Path("-"))) == expected


def test_a_list_that_is_none_is_one_line(tmp_path: Path) -> None:
    Image.new("RGB", (40, 40)).save(tmp_path / "image.png")
    (tmp_path / "empty.txt").write_text("\n\n", encoding="utf-8")
    (tmp_path / "long.txt").write_text(
        "x" * 40_000, encoding="utf-8"
    )  # no path, and too long for a field of a CSV file
    for name, message in (
        ("image.png", "image.png is not a text file with one image file a line"),
        ("empty.txt", "empty.txt is empty"),
        ("no.txt", r"no.txt cannot be read \(No such file"),
        (".", "cannot be read"),
        ("long.txt", "long.txt is not a text file"),
    ):
        with pytest.raises(UserError, match=f"--img_list: .*{message}"):
            list(open_list(tmp_path / name))


@pytest.mark.parametrize("workers", [0, 2])
def test_images_are_read_as_a_stream(tmp_path: Path, workers: int) -> None:
    """Each batch is scored when a few more were asked for, so a list of any length can come from a pipe."""
    Image.new("RGB", (40, 40)).save(tmp_path / "black.png")
    asked = 0

    def images() -> Iterator[Path]:
        nonlocal asked
        for _ in range(40):
            asked += 1
            yield tmp_path / "black.png"

    for number, found in enumerate(score_images(Overflowing(), images(), batch_size=2, num_workers=workers)):
        assert len(found) == 2 and 2 <= asked - 2 * number <= 2 + 8 * workers
    assert asked == 40


def scored_on_a_rank(rank: int, paths: list[Path], rendezvous: str) -> None:
    os.environ.update(RANK=str(rank), WORLD_SIZE="2", LOCAL_WORLD_SIZE=str(rank + 1))
    dist.init_process_group("gloo", init_method=rendezvous, rank=rank, world_size=2)
    images = paths if rank == 0 else ()
    batches = list(score_images(Overflowing(), images, batch_size=2, num_workers=2))
    assert [result.path for batch in batches for result in batch] == paths
    dist.destroy_process_group()


@one_at_a_time
def test_ranks_with_different_numbers_of_cores_share_the_images(tmp_path: Path) -> None:
    """The order in which they get their parts and return their scores depends on the number of workers."""
    paths = [tmp_path / f"{i}.png" for i in range(25)]
    Image.new("RGB", (40, 40)).save(paths[3])
    on_two_ranks(scored_on_a_rank, paths, (tmp_path / "rendezvous").as_uri())
