import importlib
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks import degradation, harness, inference, ridge
from benchmarks.__main__ import COMMANDS, ON_A_DEVICE, kept_notes, page
from data import fast_png
from data.kadis700 import KADIS700Dataset
from models.errors import UserError
from utils.distortions import sample_composition


def test_the_page_shows_the_last_line_of_each_benchmark_as_its_result() -> None:
    text = page([("Step", "benchmarks.training", "slow 2 s\nours / plain: 0.44"), ("Score", "b.c --x", "0.69")])
    assert "| Step | ours / plain: 0.44 | `python -m benchmarks.training` |" in text
    assert "| Score | 0.69 | `python -m b.c --x` |" in text
    assert "slow 2 s\nours / plain: 0.44\n```" in text


def test_notes_written_by_hand_stay(tmp_path: Path) -> None:
    path = tmp_path / "benchmarks.md"
    assert kept_notes(path) == ""
    notes = "## What the figures depend on\n\nOn the machine.\n\n"
    path.write_text(page([("Step", "a.b", "1")], notes), encoding="utf-8")
    assert kept_notes(path) == notes
    assert "On the machine.\n\n## Step\n" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize(("title", "command"), [*COMMANDS, *ON_A_DEVICE])
def test_every_command_is_a_module_that_accepts_its_options(
    title: str, command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    name, *options = command.split()
    monkeypatch.setattr("sys.argv", [name, *options, "--help"])
    with pytest.raises(SystemExit) as ended:
        importlib.import_module(name).main()
    assert ended.value.code == 0
    printed = capsys.readouterr().out
    assert all(option in printed for option in options if option.startswith("--"))


def test_the_grid_search_gives_the_same_scores_as_scikit_learn(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    quick = ["--datasets", "tid2013", "--shrink", "20", "--columns", "32", "--splits", "2"]
    monkeypatch.setattr("sys.argv", ["ridge", *quick])
    ridge.main()
    printed = capsys.readouterr().out
    assert "tid2013: 150 x 5 x 32 float32" in printed and "for all 200 fits" in printed
    assert float(printed.split("largest difference in SROCC: ")[1].split()[0]) < 1e-9


def test_scoring_files_gives_the_scores_of_plain_pytorch_and_the_share_of_each_stage(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(inference, "PHOTO", (131, 97))
    monkeypatch.setattr(inference, "exported_to_onnx", lambda *_: None)
    monkeypatch.setattr(inference, "tune_malloc", lambda: None)  # it cannot be undone
    monkeypatch.setattr(harness, "forward_bound", lambda *_: 1.0)
    monkeypatch.setattr("sys.argv", ["inference", "--crop_size", "48", "--images", "3", "--repeats", "1"])
    threads: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", threads.append)
    hub = torch.hub.get_dir()
    inference.main()
    printed = capsys.readouterr().out
    assert float(printed.split("largest difference between the scores: ")[1].split()[0]) < 1e-6
    shares = dict(re.findall(r"([a-z ]+) (\d+\.\d)%", printed.split("shares of our time:")[1].split("\n")[0]))
    assert [name.strip() for name in shares] == ["read", "resize and crop", "copy", "encode", "write", "other"]
    assert sum(map(float, shares.values())) == pytest.approx(100, abs=0.31)  # rounded
    assert re.search(r"\nours / plain: \d+\.\d\d, files to scores: \d+\.\d\d x plain's images/s\n$", printed)
    assert threads == [1, torch.get_num_threads()] and torch.hub.get_dir() == hub


@pytest.fixture
def dataset(tmp_path: Path) -> KADIS700Dataset:
    for i in range(2):
        noise = np.random.default_rng(i).integers(0, 256, (130, 140, 3), dtype=np.uint8)
        Image.fromarray(noise).save(tmp_path / f"{i}.png")
    return KADIS700Dataset(tmp_path, patch_size=32, images_folder=".")


def test_the_expected_share_is_that_of_many_samples(dataset: KADIS700Dataset) -> None:
    generator, count = torch.Generator().manual_seed(0), 4000
    found = sum("jpeg2000" in dict(sample_composition(generator)) for _ in range(count)) / count
    assert degradation.expected_share(dataset, "jpeg2000") == pytest.approx(0.95 * found, rel=0.1)


def test_samples_with_and_without_a_type_count_as_often_as_expected() -> None:
    assert degradation.weighted_mean([5, 7], [1, 2, 3], share=0.25) == 0.25 * 6 + 0.75 * 2
    with pytest.raises(UserError, match="--samples: found 2; too few"):
        degradation.weighted_mean([], [1, 2], share=0.25)


@pytest.mark.parametrize("installed", [True, False])
def test_samples_are_timed_with_each_choice_of_decoders(
    installed: bool, dataset: KADIS700Dataset, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(fast_png, "imagecodecs", object() if installed else None)
    line = degradation.time_samples(dataset, 12)
    assert ("with imagecodecs" in line) == installed and "with Pillow alone" in line
    assert capsys.readouterr().out.count("cores make an epoch of 140,000 samples") == 1 + installed
