"""The real W&B client, offline: what is logged is read back from the file that it writes."""

import json
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from utils.experiment.layout import Experiment
from utils.experiment.run_log import RunLog

wandb_pb2 = pytest.importorskip("wandb.proto.wandb_internal_pb2")

SETTINGS = {"project": "p", "entity": None, "name": "n", "mode": "offline", "config": {"seed": 27}}
BLOCK = 32768


def records(path: Path) -> Iterator[object]:
    """The records of a .wandb file: a LevelDB log (7-byte file header; chunks of crc, length, type) of messages."""
    content, position, message = path.read_bytes(), 7, b""
    while position + 7 <= len(content):
        if BLOCK - position % BLOCK < 7:  # the tail of a block is padding
            position += BLOCK - position % BLOCK
            continue
        _, length, kind = struct.unpack_from("<IHB", content, position)
        message += content[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):  # a whole message, or the last chunk of one
            record = wandb_pb2.Record()
            record.ParseFromString(message)
            yield record
            message = b""


def history(folder: Path) -> list[dict[str, object]]:
    rows = []
    for path in sorted(folder.glob("wandb/offline-run-*/run-*.wandb")):
        for record in records(path):
            if record.WhichOneof("record_type") == "history":
                rows.append({".".join(i.nested_key) or i.key: json.loads(i.value_json) for i in record.history.item})
    return rows


def test_scalars_and_images_arrive_and_a_resumed_run_is_the_same_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_SILENT", "true")
    log = RunLog(Experiment(tmp_path, "log"), ["loss"], wandb_settings=SETTINGS)
    log.scalars([{"step": s, "epoch": 0, "loss": 1 / s} for s in (1, 2)])
    log.images(2, "input_A", [Image.new("RGB", (8, 8), "red")], ["a.png: gaublur 1"])
    log.close()
    first = (tmp_path / "wandb_id.txt").read_text()
    log = RunLog(Experiment(tmp_path, "log"), ["loss"], step=2, wandb_settings=SETTINGS)
    log.scalars([{"step": 3, "epoch": 0, "loss": 0.25}])
    log.close()

    assert (tmp_path / "wandb_id.txt").read_text() == first
    assert {path.stem for path in tmp_path.glob("wandb/offline-run-*/run-*.wandb")} == {f"run-{first.strip()}"}
    rows = history(tmp_path)
    assert [row["loss"] for row in rows if "loss" in row] == [1, 0.5, 0.25]
    assert [row["_step"] for row in rows if "loss" in row] == [1, 2, 3]
    assert any("gaublur 1" in json.dumps(row) for row in rows)


def test_a_client_that_does_not_start_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import wandb

    def refuse(**_: object) -> None:
        raise wandb.errors.CommError("no network")

    monkeypatch.setattr(wandb, "init", refuse)
    log = RunLog(Experiment(tmp_path, "log"), ["loss"], wandb_settings=SETTINGS)
    log.scalars([{"step": 1, "epoch": 0, "loss": 1.0}])
    log.close()
    assert "W&B did not start (no network); the run goes on without it" in capsys.readouterr().err
    assert "1,0,1.0" in (tmp_path / "metrics.csv").read_text()
