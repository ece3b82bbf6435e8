import pickle
from pathlib import Path

import pytest
import torch

from utils.errors import UserError
from utils.experiment.checkpoint import load_checkpoint, replace_checkpoint, save_checkpoint

STATE = {
    "model_state_dict": {"w": torch.arange(3.0)},
    "optimizer_state_dict": {},
    "scheduler_state_dict": {},
    "scaler_state_dict": {},
    "epoch": 1,
    "step": 2,
    "validated": False,
    "best": None,
    "unreadable": [],
    "config": {"seed": 27},
}


def test_a_failed_write_leaves_the_old_file_and_no_partial_one(tmp_path: Path) -> None:
    path = tmp_path / "last_epoch_0.pth"
    save_checkpoint(STATE, path)
    before = path.read_bytes()
    with pytest.raises((AttributeError, pickle.PicklingError)):
        save_checkpoint(lambda: None, path)
    assert path.read_bytes() == before


def test_a_full_disk_is_one_line_and_the_old_file_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "last_epoch_0.pth"
    save_checkpoint(STATE, path)
    before = path.read_bytes()

    def full(_: object, file: object) -> None:
        file.write(b"half of it")  # type: ignore[attr-defined]
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(UserError, match=r"last_epoch_0\.pth: cannot be written.*No space left") as error:
        save_checkpoint({"epoch": 2}, path)
    assert "\n" not in str(error.value)
    assert [p.name for p in tmp_path.iterdir()] == [path.name] and path.read_bytes() == before


def test_an_unwritable_folder_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written") as error:
        save_checkpoint(STATE, tmp_path / "file" / "last_epoch_0.pth")
    assert "\n" not in str(error.value)


def test_only_the_newest_stays(tmp_path: Path) -> None:
    for step in (1, 2, 3):
        replace_checkpoint(STATE, tmp_path / f"last_epoch_0_step_{step}.pth", list(tmp_path.iterdir()))
    assert [p.name for p in tmp_path.iterdir()] == ["last_epoch_0_step_3.pth"]
    torch.testing.assert_close(load_checkpoint(tmp_path / "last_epoch_0_step_3.pth"), STATE)


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04cut"])
def test_a_damaged_checkpoint_is_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "last_epoch_0.pth"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"last_epoch_0\.pth: not a readable checkpoint") as error:
        load_checkpoint(path)
    assert "\n" not in str(error.value)


def test_a_cut_checkpoint_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "last_epoch_0.pth"
    save_checkpoint(STATE, path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(UserError, match="not a readable checkpoint"):
        load_checkpoint(path)


def test_a_file_of_another_kind_names_what_it_lacks(tmp_path: Path) -> None:
    save_checkpoint({"epoch": 1}, tmp_path / "last_epoch_0.pth")
    with pytest.raises(UserError, match="lacks best, config, model_state_dict"):
        load_checkpoint(tmp_path / "last_epoch_0.pth")
