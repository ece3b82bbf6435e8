import shutil
from pathlib import Path

import pytest
import torch

from models.errors import WeightsError
from models.weights import published_encoder, published_regressor
from tests.models.arniqa_files import random_regressor
from tests.server import served

NAME = "regressor_csiq.pth"
pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that downloads go to; it does not exist yet."""
    monkeypatch.delenv("ARNIQA_WEIGHTS_DIR", raising=False)
    monkeypatch.setattr(torch.hub, "_hub_dir", str(tmp_path / "hub"))
    return tmp_path / "hub" / "checkpoints"


@pytest.fixture
def mirror(tmp_path: Path, released: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with one regressor, which ARNIQA_WEIGHTS_URL names."""
    folder = tmp_path / "mirror"
    folder.mkdir()
    shutil.copy(released / NAME, folder)
    monkeypatch.setenv("ARNIQA_WEIGHTS_URL", folder.as_uri())
    return folder


def message() -> str:
    """The one line that loading the regressor gives."""
    with pytest.raises(WeightsError) as error:
        published_regressor("csiq")
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_mirror_is_asked_once(cache: Path, mirror: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with served(mirror) as address:
        monkeypatch.setenv("ARNIQA_WEIGHTS_URL", f"{address}/")
        found = published_regressor("csiq")
    assert torch.equal(found.weights, random_regressor(1).weight)
    content = (cache / NAME).read_bytes()
    assert content == (mirror / NAME).read_bytes()
    again = published_regressor("csiq")  # the server is gone
    assert torch.equal(again.weights, found.weights)
    with pytest.raises(WeightsError, match=rf"{address}/ARNIQA\.pth.*weights_dir.*ARNIQA_WEIGHTS_DIR"):
        published_encoder()
    assert sorted(path.name for path in cache.iterdir()) == [NAME]


@pytest.mark.parametrize("address", ["mirror.example/weights", "http://127.0.0.1:9"])
def test_a_mirror_that_cannot_be_asked_gives_one_line(
    cache: Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ARNIQA_WEIGHTS_URL", address)
    assert message().startswith(f"{address}/{NAME}: cannot be downloaded")
    assert not list(cache.iterdir())


def test_a_long_address_is_not_cut(cache: Path, mirror: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As that of a mirror with a token in it."""
    deep = mirror / "/".join(["folder" * 10] * 4)
    deep.mkdir(parents=True)
    (mirror / NAME).rename(deep / NAME)
    monkeypatch.setenv("ARNIQA_WEIGHTS_URL", deep.as_uri())
    assert published_regressor("csiq").dataset == "csiq"


@pytest.mark.parametrize(("content", "word"), [(None, "try again"), (b"<!DOCTYPE html>", "not a file with"), (b"", "")])
def test_what_is_no_regressor_leaves_no_file_and_is_named_by_its_address(
    cache: Path, mirror: Path, content: bytes | None, word: str
) -> None:
    """Not by the temporary file, which is gone when the line is read."""
    whole = (mirror / NAME).read_bytes()
    (mirror / NAME).write_bytes(whole[:-100] if content is None else content)  # None: an incomplete download
    found = message()
    assert found.startswith(f"{mirror.as_uri()}/{NAME}: ") and word in found and str(cache) not in found
    assert not list(cache.iterdir())


def test_a_damaged_cached_file_is_refused(cache: Path, mirror: Path) -> None:
    published_regressor("csiq")
    content = bytearray((cache / NAME).read_bytes())
    content[len(content) // 2] ^= 1
    (cache / NAME).write_bytes(content)
    assert message().startswith(f"{cache / NAME}: damaged")
    (cache / NAME).unlink()  # as the line says
    published_regressor("csiq")
