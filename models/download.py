"""Downloads the released files once, and notices when one is no longer what was downloaded.

A download leaves two files in torch.hub's cache: NAME, and the note NAME.json with its name, URL, SHA-256 and date, and
with its size and time of change. While these two are as noted, the file is not hashed, which would add a sixth to the
time that loading takes.
"""

import hashlib
import json
import os
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from http.client import HTTPException
from pathlib import Path
from typing import Any, TypeVar

import torch

from .errors import WeightsError, shorten

RELEASE_URL = "https://github.com/miccunifi/ARNIQA/releases/download/weights"
URL_VARIABLE = "ARNIQA_WEIGHTS_URL"
WEIGHTS_DIR_VARIABLE = "ARNIQA_WEIGHTS_DIR"
PATIENCE = 30  # seconds without an answer

T = TypeVar("T")


def downloaded(name: str, load: Callable[[Path], T]) -> T:
    """Loads a released file from torch.hub's cache. If it is not there, it is downloaded first.

    Args:
        name: of the file, under the address in the environment variable ARNIQA_WEIGHTS_URL or that of the release.
        load: what loads it; it raises a WeightsError if the file is damaged.

    Raises:
        WeightsError: the file is invalid, cannot be downloaded, or is not the one that was downloaded before.
    """
    cache = Path(torch.hub.get_dir()) / "checkpoints"
    path, note = cache / name, cache / f"{name}.json"
    noted = _read(note)
    if path.exists():
        if noted and not _is_as_noted(path, noted):
            raise WeightsError(
                f"{path}: is not the file that was downloaded on {noted['date']} from {noted['url']}; delete it to "
                f"download it again, or delete {note.name} beside it to use it as it is"
            )
        return load(path)
    url = f"{(os.environ.get(URL_VARIABLE) or RELEASE_URL).rstrip('/')}/{name}"
    # Download to a temporary folder and move the file after it has loaded, so an incomplete download leaves no file.
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as temporary:
            fetched = Path(temporary) / name
            with network_timeout():
                torch.hub.download_url_to_file(url, str(fetched))
            content = load(fetched)
            about = _about(fetched, url)
            expected = noted is None or about["sha256"] == noted["sha256"]
            if expected:
                new_note = Path(temporary) / note.name
                new_note.write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")
                new_note.replace(note)
                fetched.replace(path)
    except (OSError, RuntimeError, ValueError, HTTPException) as error:
        reason = str(error)
        if isinstance(error, WeightsError):  # it names the temporary file, which is gone
            reason = reason.removeprefix(f"{fetched}: ")
        raise WeightsError(
            f"{url}: cannot be downloaded ({shorten(reason)}); try again, set {URL_VARIABLE} to a mirror, or put "
            f"ARNIQA.pth and regressor_<dataset>.pth into a folder and set weights_dir or {WEIGHTS_DIR_VARIABLE} to it"
        ) from None  # the libraries' own traceback would fill the screen of whoever loads the model
    if noted and not expected:
        raise WeightsError(
            f"{url}: has SHA-256 {about['sha256']}, but the file that was downloaded on {noted['date']} from "
            f"{noted['url']} had {noted['sha256']}; to use the new one, delete {note}"
        )
    return content


@contextmanager
def network_timeout() -> Iterator[None]:
    """Sets a limit to each wait for a server; torch.hub's downloads have none of their own."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(PATIENCE)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _about(path: Path, url: str) -> dict[str, Any]:
    """What the note of a downloaded file says."""
    stat = path.stat()
    return {
        "name": path.name,
        "url": url,
        "sha256": _sha256(path),
        "date": date.today().isoformat(),
        "size": stat.st_size,
        "modified_ns": stat.st_mtime_ns,
    }


def _read(note: Path) -> dict[str, Any] | None:
    """A note's content; None without one."""
    if not note.exists():
        return None
    try:
        noted = json.loads(note.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        noted = None
    if not isinstance(noted, dict) or not {"url", "sha256", "date", "size", "modified_ns"} <= set(noted):
        raise WeightsError(f"{note}: is damaged; delete it if you trust {note.stem} beside it, else delete both")
    return noted


def _is_as_noted(path: Path, noted: dict[str, Any]) -> bool:
    if not path.is_file():
        return False
    stat = path.stat()
    unchanged = (stat.st_size, stat.st_mtime_ns) == (noted["size"], noted["modified_ns"])
    return unchanged or _sha256(path) == noted["sha256"]


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
