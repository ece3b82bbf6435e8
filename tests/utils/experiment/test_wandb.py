"""Logs with the real W&B client in offline mode and reads the values from the file that it writes."""

import csv
import json
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest
import torch
from PIL import Image

from models.experiment import Experiment
from tests.utils.experiment.test_run_log import COLUMNS, log_steps
from utils.config.keys import Config
from utils.experiment.run_log import RunLog
from utils.experiment.wandb_run import wandb_settings

wandb_pb2 = pytest.importorskip("wandb.proto.wandb_internal_pb2")

SETTINGS = {"project": "p", "entity": None, "name": "n", "mode": "offline", "config": {"seed": 27}}
BLOCK = 32768


def records(path: Path) -> Iterator[Any]:
    """The records of a .wandb file: a LevelDB log with a 7-byte header and chunks of crc, length, type and data.

    W&B may still be writing the file: a chunk that is not there in full ends it.
    """
    content, position, message = path.read_bytes(), 7, b""
    while position + 7 <= len(content):
        if BLOCK - position % BLOCK < 7:  # the end of a block is padding
            position += BLOCK - position % BLOCK
            continue
        _, length, kind = struct.unpack_from("<IHB", content, position)
        if position + 7 + length > len(content):
            return
        message += content[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):  # a whole message, or the last chunk of one
            record = wandb_pb2.Record()
            record.ParseFromString(message)
            yield record
            message = b""


def ended_runs(folder: Path) -> list[list[Any]]:
    """The records of all runs below the folder. Waits for their ends: W&B writes them after `finish` has returned."""
    deadline = time.monotonic() + 60
    while True:
        found = [list(records(path)) for path in sorted(folder.glob("wandb/offline-run-*/run-*.wandb"))]
        ended = [any(r.WhichOneof("record_type") == "exit" for r in of) for of in found]
        runs = len(list(folder.glob("wandb/offline-run-*")))
        if len(ended) == runs and all(ended):
            break
        assert time.monotonic() < deadline, f"{sum(ended)} of {runs} runs have ended"
        time.sleep(0.1)
    return found


def history(folder: Path) -> list[dict[str, Any]]:
    """The rows of all runs below the folder."""
    rows = [r.history.item for of in ended_runs(folder) for r in of if r.WhichOneof("record_type") == "history"]
    return [{".".join(i.nested_key) or i.key: json.loads(i.value_json) for i in row} for row in rows]


def summary(folder: Path) -> dict[str, Any]:
    """What runs below the folder set in their summaries."""
    changes = [r.summary.update for of in ended_runs(folder) for r in of if r.WhichOneof("record_type") == "summary"]
    return {".".join(i.nested_key) or i.key: json.loads(i.value_json) for change in changes for i in change}


def test_scalars_are_logged_and_a_resumed_run_continues(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_SILENT", "true")
    log = RunLog(Experiment(tmp_path, "log"), COLUMNS, batch_size=16, wandb_settings=SETTINGS)
    log_steps(log, [1, 2])
    log.close()
    first = (tmp_path / "wandb_id.txt").read_text()
    log = RunLog(Experiment(tmp_path, "log"), COLUMNS, 2, batch_size=16, wandb_settings=SETTINGS)
    log_steps(log, [4])
    log.write_validation({"step": 4, "epoch": 0, "srocc": 0.7}, {"val_srocc_avg": 0.7, "val_srocc_live": 0.7})
    log.close()

    assert (tmp_path / "wandb_id.txt").read_text() == first
    assert {path.stem for path in tmp_path.glob("wandb/offline-run-*/run-*.wandb")} == {f"run-{first.strip()}"}
    rows = history(tmp_path)
    assert [row["loss"] for row in rows if "loss" in row] == [1, 0.5, 0.25]
    assert [row["_step"] for row in rows if "loss" in row] == [0, 16, 48]  # images seen before the step
    assert [row["lr"] for row in rows if "lr" in row] == [0.2] * 3 and "learning_rate" not in rows[0]  # after the step
    validation = rows[-1]
    assert (validation["val_srocc_avg"], validation["val_srocc_live"]) == (0.7, 0.7) and "srocc" not in validation
    assert validation["_step"] == 63  # the step after it is at 64, also if W&B starts again in between
    with (tmp_path / "metrics.csv").open(newline="", encoding="utf-8") as file:
        assert [row["learning_rate"] + row["srocc"] for row in csv.DictReader(file)] == ["0.1", "0.1", "0.1", "0.7"]


def test_training_continues_if_the_client_does_not_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import wandb

    def refuse(**_: object) -> None:
        raise wandb.errors.CommError("no network")

    monkeypatch.setattr(wandb, "init", refuse)
    log = RunLog(Experiment(tmp_path, "log"), COLUMNS, batch_size=16, wandb_settings=SETTINGS)
    log_steps(log, [1])
    log.close()
    assert "W&B did not start (no network); the run continues without it" in capsys.readouterr().err
    assert "1,0,1.0,0.1" in (tmp_path / "metrics.csv").read_text()


def test_pictures_are_sent_with_the_next_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """W&B drops what arrives after a larger step, and losses are sent ten steps late."""
    monkeypatch.setenv("WANDB_SILENT", "true")
    log = RunLog(Experiment(tmp_path, "log"), COLUMNS, batch_size=16, wandb_settings=SETTINGS)
    for last in (10, 20):
        for step in range(last - 9, last + 1):
            if step in (7, 10, 17):
                log.add_media({"input": [(Image.new("RGB", (8, 8)), f"step {step}")]})
            log.add_step({"step": step, "epoch": 0, "learning_rate": 0.1, "lr": 0.1}, torch.tensor(1 / step))
        log.flush()
    log.add_media({"T-SNE": go.Figure(go.Scatter(x=[1], y=[2], name="after the last step"))})
    log.close()
    rows = history(tmp_path)
    np.testing.assert_allclose([row["loss"] for row in rows if "loss" in row], [1 / s for s in range(1, 21)])
    with_pictures = {row["_step"]: json.dumps(row) for row in rows if "input" in json.dumps(row)}
    assert set(with_pictures) == {16 * (step - 1) for step in (7, 10, 17)}
    assert all(f'"step {step // 16 + 1}"' in text for step, text in with_pictures.items())
    assert rows[-1]["T-SNE._type"] == "plotly-file" and rows[-1]["_step"] == 319
    (plot,) = tmp_path.glob("wandb/offline-run-*/files/media/plotly/T-SNE_*.json")
    assert json.loads(plot.read_text(encoding="utf-8"))["data"][0]["name"] == "after the last step"


def test_online_without_a_project_is_off_and_said(capsys: pytest.CaptureFixture[str]) -> None:
    set_up = {"experiment_name": "mine", "data_base_path": "d"}
    assert wandb_settings(Config.from_dict(set_up)) is None
    assert "W&B is off, because logging.wandb.project is not set" in capsys.readouterr().out
    assert wandb_settings(Config.from_dict({**set_up, "logging.use_wandb": False})) is None
    assert capsys.readouterr().out == ""
    assert wandb_settings(Config.from_dict({**set_up, "logging.wandb.project": "p"}))["mode"] == "online"
    assert wandb_settings(Config.from_dict({**set_up, "logging.wandb.online": False}))["mode"] == "offline"
