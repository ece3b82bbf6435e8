import errno
import multiprocessing
import os
import signal
import sys
import time
from pathlib import Path
from typing import BinaryIO

import pytest
import torch

from models.errors import UserError
from models.files import write_atomic, write_folder, write_text
from tests.processes import LIMIT, run
from utils.runtime.files import GrowingFile, locked


def test_a_failed_write_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "sub" / "a.txt"
    write_text(path, "old é")

    def fail(file: BinaryIO) -> None:
        file.write(b"half of it")
        raise OSError(28, "No space left on device")

    with pytest.raises(UserError, match=r"a\.txt: cannot be written.*No space left") as error:
        write_atomic(path, fail)
    assert "\n" not in str(error.value)
    with pytest.raises(KeyboardInterrupt):
        write_atomic(path, interrupt)
    assert path.read_text(encoding="utf-8") == "old é"
    assert list(path.parent.iterdir()) == [path]


def interrupt(_: BinaryIO) -> None:
    raise KeyboardInterrupt


class Interrupted:
    """A file whose third write is interrupted by Ctrl-C."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.writes = file, 0

    def write(self, data: bytes) -> int:
        self.writes += 1
        if self.writes == 3:
            raise KeyboardInterrupt
        return self.file.write(data)

    def flush(self) -> None:
        self.file.flush()


def test_ctrl_c_while_weights_are_written_is_a_stop_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        write_atomic(
            tmp_path / "a.pth", lambda file: torch.save({"a": torch.ones(1000), "b": torch.ones(9)}, Interrupted(file))
        )
    assert list(tmp_path.iterdir()) == []


def test_two_writers_do_not_mix_their_content(tmp_path: Path) -> None:
    """The second writer finishes before the first one, so the content of the first one remains."""
    path = tmp_path / "a.txt"

    def write_slowly(file: BinaryIO) -> None:
        file.write(b"first ")
        write_text(path, "second")
        assert path.read_text() == "second"
        file.write(b"again")

    write_atomic(path, write_slowly)
    assert path.read_text() == "first again"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_exists_only_when_it_is_complete(tmp_path: Path) -> None:
    folder = tmp_path / "made"

    def fill(inside: Path) -> None:
        assert not folder.exists()
        (inside / "a.txt").write_text("a")

    write_folder(folder, fill)
    assert [path.name for path in tmp_path.iterdir()] == ["made"] and (folder / "a.txt").read_text() == "a"
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        write_folder(tmp_path / "file" / "made", fill)


def test_appended_data_is_written_and_can_be_truncated(tmp_path: Path) -> None:
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


def test_a_second_process_gets_an_error_and_a_killed_process_releases_the_lock(
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
        process.join(LIMIT)
    with GrowingFile(path) as file:
        file.append(b"ours\n")
    assert path.read_bytes() == b"theirs\nours\n"


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
        with GrowingFile(path):
            pass
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


@pytest.mark.skipif(sys.platform == "win32", reason="the resource limit is POSIX's")
def test_a_full_disk_leaves_what_was_there(tmp_path: Path) -> None:
    """A limit on the size of files stands for the full disk. In a process of its own, because the limit stays."""
    script = f"""
import resource, signal
from pathlib import Path
from models.errors import UserError
from utils.runtime.files import GrowingFile
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
with GrowingFile(Path({str(tmp_path / "grows.csv")!r})) as file:
    file.append(b"x" * 1000)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1010, 1010))
    try:
        file.append(b"y" * 20)
    except UserError as error:
        print(error)
"""
    root = Path(__file__).resolve().parents[3]
    ended = run([sys.executable, "-c", script], cwd=root)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "cannot be written" in ended.stdout and len(ended.stdout.splitlines()) == 1
    assert (tmp_path / "grows.csv").read_bytes() == b"x" * 1000


@pytest.mark.skipif(sys.platform == "win32", reason="fcntl")
def test_a_file_system_without_locks_is_no_obstacle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("utils.runtime.files.FileLock.acquire", refuse)
    with GrowingFile(tmp_path / "grows.csv") as file:
        file.append(b"one")
    assert (tmp_path / "grows.csv").read_bytes() == b"one"
    assert "this file system has no locks" in capsys.readouterr().err


def test_the_whole_content_is_replaced(tmp_path: Path) -> None:
    with GrowingFile(tmp_path / "grows.csv") as file:
        file.append(b"one")
        file.replace(b"two")
        file.append(b"three")
    assert (tmp_path / "grows.csv").read_bytes() == b"twothree"


def test_waiting_for_another_process(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "grows.csv"
    process = started(path, 5)
    with locked(path, "waiting for the other one"):
        assert path.read_bytes() == b"theirs\n"
    process.join(LIMIT)
    assert capsys.readouterr().err == "waiting for the other one\n"
