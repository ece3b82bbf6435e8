import multiprocessing
import os
import signal
import sys
import time
from pathlib import Path
from typing import BinaryIO

import pytest

from utils.errors import UserError
from utils.runtime.files import GrowingFile, locked, make_folder_whole, write_text, write_whole


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "sub" / "a.txt"
    write_text(path, "old é")

    def fail(file: BinaryIO) -> None:
        file.write(b"half of it")
        raise OSError(28, "No space left on device")

    with pytest.raises(UserError, match=r"a\.txt: cannot be written.*No space left") as error:
        write_whole(path, fail)
    assert "\n" not in str(error.value)
    with pytest.raises(KeyboardInterrupt):
        write_whole(path, interrupt)
    assert path.read_text(encoding="utf-8") == "old é"
    assert list(path.parent.iterdir()) == [path]


def interrupt(_: BinaryIO) -> None:
    raise KeyboardInterrupt


def test_two_writers_do_not_meet(tmp_path: Path) -> None:
    """The second finishes while the first is in the middle: each file is one writer's, and the last rename counts."""
    path = tmp_path / "a.txt"

    def write_slowly(file: BinaryIO) -> None:
        file.write(b"first ")
        write_text(path, "second")
        assert path.read_text() == "second"
        file.write(b"again")

    write_whole(path, write_slowly)
    assert path.read_text() == "first again"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_appears_once_it_is_complete(tmp_path: Path) -> None:
    folder = tmp_path / "made"

    def fill(inside: Path) -> None:
        assert not folder.exists()
        (inside / "a.txt").write_text("a")

    make_folder_whole(folder, fill)
    assert [path.name for path in tmp_path.iterdir()] == ["made"] and (folder / "a.txt").read_text() == "a"
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        make_folder_whole(tmp_path / "file" / "made", fill)


def test_what_was_appended_is_there_and_can_be_cut(tmp_path: Path) -> None:
    path = tmp_path / "sub" / "grows.csv"
    with GrowingFile(path) as file:
        file.append(b"one\n")
        file.append(b"two\n")
        assert path.read_bytes() == b"one\ntwo\n"
    with GrowingFile(path) as file:
        file.truncate(4)
        file.append(b"three\n")
    assert path.read_bytes() == b"one\nthree\n"


def hold(path: Path, seconds: float) -> None:
    with GrowingFile(path) as file:
        file.append(b"theirs\n")
        time.sleep(seconds)


def started(path: Path, seconds: float) -> multiprocessing.process.BaseProcess:
    process = multiprocessing.get_context("spawn").Process(target=hold, args=(path, seconds))
    process.start()
    deadline = time.monotonic() + 60
    while not path.exists() or not path.read_bytes():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return process


def test_a_second_process_is_refused_and_a_killed_one_leaves_no_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("utils.runtime.files.PATIENCE", 0.1)
    path = tmp_path / "grows.csv"
    process = started(path, 600)
    try:
        with pytest.raises(UserError, match=r"grows\.csv: another process is writing to it"):
            GrowingFile(path)
    finally:
        process.kill()
        process.join()
    with GrowingFile(path) as file:
        file.append(b"ours\n")
    assert path.read_bytes() == b"theirs\nours\n"


@pytest.mark.skipif(sys.platform == "win32", reason="os.fork")
def test_a_forked_child_does_not_keep_the_lock(tmp_path: Path) -> None:
    """Data-loading workers are forked while the log is open, and outlive a killed parent by some seconds."""
    path = tmp_path / "grows.csv"
    file = GrowingFile(path)
    child = os.fork()
    if child == 0:
        time.sleep(60)
        os._exit(0)
    try:
        file.close()
        with GrowingFile(path):
            pass
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_waiting_for_another_process(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "grows.csv"
    process = started(path, 1)
    with locked(path, "waiting for the other one"):
        assert path.read_bytes() == b"theirs\n"
    process.join()
    assert capsys.readouterr().err == "waiting for the other one\n"
