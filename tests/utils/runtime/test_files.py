import errno
import os
import signal
import sys
import time
from contextlib import closing
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import pytest
import torch

from models.errors import UserError
from models.files import write_atomic, write_text
from utils.runtime.files import GrowingFile


def test_a_failed_write_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "sub" / "a.txt"
    write_text(path, "old é")

    def fail(file: BinaryIO) -> None:
        file.write(b"half of it")
        raise OSError(28, "No space left on device")

    with pytest.raises(UserError, match=r"a\.txt: cannot be written.*No space left"):
        write_atomic(path, fail)
    assert path.read_text(encoding="utf-8") == "old é"
    assert list(path.parent.iterdir()) == [path]


class Interrupted(BytesIO):
    """A file of which a later write is interrupted by Ctrl-C."""

    def write(self, data: Any) -> int:
        if self.tell():
            raise KeyboardInterrupt
        return super().write(data)


def test_ctrl_c_while_weights_are_written_is_a_stop_and_leaves_nothing(tmp_path: Path) -> None:
    weights = {"a": torch.ones(1000), "b": torch.ones(9)}
    with pytest.raises(KeyboardInterrupt):
        write_atomic(tmp_path / "a.pth", lambda _: torch.save(weights, Interrupted()))
    assert list(tmp_path.iterdir()) == []


def test_appended_data_is_written_and_can_be_truncated_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "sub" / "grows.csv"
    with closing(GrowingFile(path)) as file:
        file.append(b"one\n")
        file.append(b"two\n")
        assert path.read_bytes() == b"one\ntwo\n"
    with closing(GrowingFile(path)) as file:
        file.truncate(4)
        file.append(b"three\n")
        assert path.read_bytes() == b"one\nthree\n"
        file.replace(lambda new: new.write(b"four\n"))
        file.append(b"five\n")
    assert path.read_bytes() == b"four\nfive\n"


def test_a_full_disk_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with closing(GrowingFile(tmp_path / "grows.csv")) as file:
        file.append(b"whole\n")
        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(UserError, match=r"grows\.csv: cannot be written .*No space left"):
            file.append(b"half of it")
    assert (tmp_path / "grows.csv").read_bytes() == b"whole\n"


@pytest.mark.skipif(sys.platform == "win32", reason="os.fork")
def test_a_forked_child_does_not_keep_the_lock(tmp_path: Path) -> None:
    """Data-loading workers are forked while the log is open, and live some seconds longer than a killed parent."""
    path = tmp_path / "grows.csv"
    file = GrowingFile(path)
    child = os.fork()
    if child == 0:
        time.sleep(60)
        os._exit(0)
    try:
        file.close()
        GrowingFile(path).close()
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


@pytest.mark.skipif(sys.platform == "win32", reason="fcntl")
def test_a_file_system_without_locks_is_no_obstacle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("utils.runtime.files.FileLock.acquire", refuse)
    with closing(GrowingFile(tmp_path / "grows.csv")) as file:
        file.append(b"one")
    assert (tmp_path / "grows.csv").read_bytes() == b"one"
    assert "this file system has no locks" in capsys.readouterr().err
