import csv
from pathlib import Path

from utils.logging import RunLog

COLUMNS = ["loss", "learning_rate", "srocc"]


def read(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def write_five(folder: Path) -> None:
    log = RunLog(folder, COLUMNS)
    log.scalars([{"step": s, "epoch": 0, "loss": 1 / s, "learning_rate": 0.1} for s in range(1, 6)])
    log.scalars([{"step": 5, "epoch": 0, "srocc": 0.5}])


def test_rows_are_appended(tmp_path: Path) -> None:
    write_five(tmp_path)
    rows = read(tmp_path)
    assert [row["step"] for row in rows] == ["1", "2", "3", "4", "5", "5"]
    assert float(rows[1]["loss"]) == 0.5 and rows[1]["srocc"] == "" and rows[5]["srocc"] == "0.5"


def test_a_resumed_run_drops_what_its_checkpoint_does_not_cover(tmp_path: Path) -> None:
    write_five(tmp_path)
    RunLog(tmp_path, COLUMNS, step=3)
    assert [row["step"] for row in read(tmp_path)] == ["1", "2", "3"]


def test_a_finished_validation_is_kept_and_an_unfinished_one_made_again(tmp_path: Path) -> None:
    write_five(tmp_path)
    RunLog(tmp_path, COLUMNS, step=5, validated=True)
    assert len(read(tmp_path)) == 6
    RunLog(tmp_path, COLUMNS, step=5, validated=False)
    assert [row["srocc"] for row in read(tmp_path)] == [""] * 5


def test_a_row_cut_by_a_kill_is_dropped(tmp_path: Path) -> None:
    write_five(tmp_path)
    with (tmp_path / "metrics.csv").open("a", encoding="utf-8") as file:
        file.write("1")
    RunLog(tmp_path, COLUMNS, step=5)
    assert [row["step"] for row in read(tmp_path)] == ["1", "2", "3", "4", "5"]


def test_a_new_run_starts_an_empty_file(tmp_path: Path) -> None:
    write_five(tmp_path)
    RunLog(tmp_path, COLUMNS)
    assert read(tmp_path) == []
