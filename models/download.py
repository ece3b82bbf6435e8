"""Downloads released files to torch.hub's cache, once each."""

import os
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from typing import TypeVar

import torch

from .errors import UserError, WeightsError, escape_controls, shorten

RELEASE_URL = "https://github.com/miccunifi/ARNIQA/releases/download/weights"
URL_VARIABLE = "ARNIQA_WEIGHTS_URL"
WEIGHTS_DIR_VARIABLE = "ARNIQA_WEIGHTS_DIR"
TIMEOUT = 30  # seconds to wait for a server's answer

T = TypeVar("T")


def downloaded(name: str, load: Callable[[Path], T]) -> T:
    """Loads a released file from torch.hub's cache, downloading it first if necessary.

    The environment variable ARNIQA_WEIGHTS_URL replaces the address of the release.

    Args:
        name: file name.
        load: function that loads a file, and raises a UserError if the file is damaged.

    Raises:
        WeightsError: the file is invalid or cannot be downloaded.
    """
    cache = Path(torch.hub.get_dir()) / "checkpoints"
    path = cache / name
    if path.exists():
        return load(path)
    address = (os.environ.get(URL_VARIABLE) or RELEASE_URL).strip().rstrip("/")
    url = f"{escape_controls(address)}/{name}"
    # The file is moved to the cache after it has loaded, so an incomplete download leaves no file.
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as temporary:
            fetched = Path(temporary) / name
            with network_timeout():
                torch.hub.download_url_to_file(url, str(fetched))
            content = load(fetched)
            fetched.replace(path)
    except (OSError, UserError, RuntimeError, ValueError, HTTPException) as error:
        reason = str(error).removeprefix(f"{fetched}: ") if isinstance(error, UserError) else error
        raise WeightsError(
            f"{url}: cannot be downloaded ({shorten(reason)}); try again, set {URL_VARIABLE} to a mirror, or put "
            f"ARNIQA.pth and regressor_<dataset>.pth into a folder and set weights_dir or {WEIGHTS_DIR_VARIABLE} to it"
        ) from None  # the libraries' long traceback would hide the message
    return content


@contextmanager
def network_timeout() -> Iterator[None]:
    """Context with a timeout for torch.hub's downloads. It is process-wide, so it affects other threads too."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
