import csv
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from models.experiment import Experiment
from models.preprocess import normalize
from utils.experiment.run_log import RunLog, input_pictures

COLUMNS = ["loss", "learning_rate", "images_per_second", "srocc"]


def read(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def log_steps(log: RunLog, steps: Iterable[int]) -> None:
    for step in steps:
        log.add_step({"step": step, "epoch": 0, "learning_rate": 0.1, "lr": 0.2}, torch.tensor(1 / step))
    log.flush()


def write_five(folder: Path) -> None:
    log = RunLog(Experiment(folder, "log"), COLUMNS)
    log_steps(log, range(1, 6))
    log.write_validation({"step": 5, "epoch": 0, "srocc": 0.5}, {"val_srocc_avg": 0.5})
    log.close()


@pytest.mark.parametrize(
    ("step", "validated", "steps"),
    [
        (0, False, []),
        (3, False, [1, 2, 3]),  # rows after the checkpoint are repeated
        (5, False, [1, 2, 3, 4, 5]),
        (5, True, [1, 2, 3, 4, 5, 5]),
    ],
)
def test_a_resumed_run_keeps_the_rows_up_to_its_checkpoint(
    tmp_path: Path, step: int, validated: bool, steps: list[int]
) -> None:
    write_five(tmp_path)
    with (tmp_path / "metrics.csv").open("a", encoding="utf-8") as file:
        file.write("1")  # cut by a kill
    RunLog(Experiment(tmp_path, "log"), COLUMNS, step, validated).close()
    assert [int(row["step"]) for row in read(tmp_path)] == steps


def test_a_picture_shows_both_photos_at_both_scales_with_their_composition() -> None:
    crops = torch.randint(0, 256, (2, 6, 3, 8, 7), generator=torch.Generator().manual_seed(0))  # of three pairs
    batch: dict[str, Any] = {"composition": [[("gaublur", 2), ("jpeg", 7)], [], [("meanshift", 0.08)]]}
    for view, of_view in zip("AB", crops, strict=True):
        batch |= {
            f"view_{view.lower()}": normalize(of_view / 255),
            f"img_{view}_name": [f"{view}{i}.png" for i in range(3)],
        }
    (pictures,) = input_pictures(batch).values()
    what = ["gaublur 2, jpeg 7", "pristine", "meanshift 0.08"]
    for i, (image, caption) in enumerate(pictures):
        assert caption == f"A{i}.png, B{i}.png: {what[i]}"
        four = torch.cat([crops[0, i], crops[0, 3 + i], crops[1, i], crops[1, 3 + i]], dim=2).permute(1, 2, 0)
        assert np.abs(np.asarray(image).astype(int) - four.numpy()).max() <= 1


@pytest.mark.parametrize("damage", [b"\0\0\0\0\n", b"\xff\xfe\n", b"4,0,nothing here\n"])
def test_rows_after_a_damaged_one_are_dropped(tmp_path: Path, damage: bytes) -> None:
    write_five(tmp_path)
    path = tmp_path / "metrics.csv"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:3], damage, *lines[3:]]))
    RunLog(Experiment(tmp_path, "log"), COLUMNS, step=3).close()
    assert [row["step"] for row in read(tmp_path)] == ["1", "2"]


def test_rows_that_are_missing_are_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_five(tmp_path)
    for content in (b"", b"another,header\n1,2\n"):
        (tmp_path / "metrics.csv").write_bytes(content)
        log = RunLog(Experiment(tmp_path, "log"), COLUMNS, step=5)
        log_steps(log, [6])
        log.close()
        assert [row["step"] for row in read(tmp_path)] == ["6"]
        assert "metrics.csv: has no row of step 5; the log continues after that step" in capsys.readouterr().err
