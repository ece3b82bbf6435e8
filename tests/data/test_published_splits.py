import hashlib
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from data import IQA_DATASETS, get_dataset
from data.split_files import FILES, PUBLISHED, SHIPPED
from data.splits import COMMIT, fetch, fetch_published
from models.errors import UserError
from tests.data.layouts import annotated, make_small, small, write_annotation
from tests.server import Quiet, served

ROOT = Path(__file__).resolve().parents[2]
COPIES = ROOT.parent / "shared" / "data" / "published_splits"  # not distributed with the project
copies = pytest.mark.skipif(not COPIES.is_dir(), reason=f"{COPIES} is absent")


class Stored(Quiet):
    def translate_path(self, path: str) -> str:
        return super().translate_path(path.replace("/splits/", "/"))  # as the copies are stored


@copies
def test_the_table_has_the_checksums_of_the_published_files() -> None:
    for name, digest in PUBLISHED.items():
        content = [(COPIES / IQA_DATASETS[name].folder / file).read_bytes() for file in FILES]
        assert hashlib.sha256(b"".join(content)).hexdigest() == digest
    assert list(PUBLISHED) == [name for name in IQA_DATASETS if name != "uhdiqa"]


@copies
@pytest.mark.parametrize("name", ["live", "csiq", "tid2013", "kadid10k", "spaq"])
def test_the_published_splits_are_fetched_and_belong_to_the_real_annotation(name: str, tmp_path: Path) -> None:
    root = annotated(name, tmp_path)
    assert get_dataset(name, tmp_path).splits_kind == "shipped"
    shipped = get_dataset(name, tmp_path).splits_hash
    with served(COPIES, Stored) as address:
        fetch(name, root, address)
    assert sorted(path.name for path in (root / "splits").iterdir()) == sorted(FILES)
    dataset = get_dataset(name, tmp_path)  # refuses a reference that is in two phases of a split
    assert dataset.splits_kind == "published" and dataset.num_splits == 10 and dataset.splits_hash != shipped
    assert dataset.order_note() == []


@copies
def test_published_splits_beside_an_annotation_in_another_order_are_refused(tmp_path: Path) -> None:
    root = annotated("spaq", tmp_path)
    with served(COPIES, Stored) as address:
        fetch("spaq", root, address)
    path = root / "Annotations" / "MOS and Image attribute scores.xlsx"
    pd.read_excel(path).iloc[::-1].to_excel(path, index=False)
    with pytest.raises(UserError, match=r"published splits were made for an annotation .* in another order"):
        get_dataset("spaq", tmp_path)


@copies
def test_a_wrong_byte_leaves_nothing_behind(tmp_path: Path) -> None:
    source, root = tmp_path / "server" / "LIVE", tmp_path / "LIVE"
    shutil.copytree(COPIES / "LIVE", source)
    root.mkdir()
    content = bytearray((source / "test.npy").read_bytes())
    content[-1] ^= 1
    (source / "test.npy").write_bytes(content)
    found = r"LIVE/splits: found SHA-256 \w+ of train\.npy, val\.npy, test\.npy together, expected "
    with served(tmp_path / "server", Stored) as address, pytest.raises(UserError, match=found + PUBLISHED["live"]):
        fetch("live", root, address)
    assert [path.name for path in root.rglob("*") if not path.name.startswith(".")] == []


def test_without_a_network_one_line_says_how_to_get_them_by_hand(tmp_path: Path) -> None:
    root = tmp_path / "LIVE"
    with pytest.raises(UserError, match=r"train\.npy: cannot be fetched") as error:
        fetch("live", root, "http://127.0.0.1:9")
    line = str(error.value)
    assert "\n" not in line and COMMIT in line and "datasets/LIVE/splits" in line and str(root / "splits") in line
    assert not root.exists()


def test_splits_that_are_there_are_not_overwritten(tmp_path: Path) -> None:
    folder = small("kadid10k", tmp_path) / "splits"
    before = {path.name: path.read_bytes() for path in folder.glob("*.npy")}
    (tmp_path / "LIVE").mkdir()
    with pytest.raises(UserError, match="splits: is not empty"):
        fetch_published(tmp_path, None)
    assert {path.name: path.read_bytes() for path in folder.glob("*.npy")} == before
    assert not (tmp_path / "LIVE" / "splits").exists()  # refused before the first one is fetched


@copies
def test_the_command_takes_the_folders_that_are_there_and_leaves_published_splits_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder in ("LIVE", "CLIVE"):
        (tmp_path / folder).mkdir()
    with served(COPIES, Stored) as address:
        fetch("live", tmp_path / "LIVE", address)
    fetch_published(tmp_path, None)  # CLIVE is fetched only when it is named
    assert "live: has the published splits already" in capsys.readouterr().out
    assert not (tmp_path / "CLIVE" / "splits").exists()


@copies
@pytest.mark.parametrize("name", ["clive", "koniq10k"])
def test_where_the_order_of_rows_is_not_known_the_results_say_so(name: str, tmp_path: Path) -> None:
    root, rows = tmp_path / IQA_DATASETS[name].folder, {"clive": 1_162, "koniq10k": 10_073}[name]
    table = pd.DataFrame({"dis_img_path": [f"x/{i}.bmp" for i in range(rows)], "score": 1.0})
    write_annotation(name, root, table)
    with served(COPIES, Stored) as address:
        fetch(name, root, address)
    dataset = get_dataset(name, tmp_path)
    (note,) = dataset.order_note()
    assert dataset.splits_kind == "published" and "order of rows" in note


def test_own_official_and_shipped_splits_are_told_apart(tmp_path: Path) -> None:
    small("kadid10k", tmp_path)
    assert get_dataset("kadid10k", tmp_path).splits_kind == "own"
    make_small("flive", tmp_path / "FLIVE")
    for _ in range(2):  # made on first use, then read
        assert get_dataset("flive", tmp_path).splits_kind == "official"
    folder = tmp_path / "FLIVE" / "splits"
    np.save(folder / "test.npy", np.load(folder / "test.npy")[:, 1:])
    assert get_dataset("flive", tmp_path).splits_kind == "own"
    make_small("clive", tmp_path / "CLIVE")
    assert get_dataset("clive", tmp_path).splits_kind == "own"
    shutil.copytree(SHIPPED / "live", annotated("live", tmp_path) / "splits")
    assert get_dataset("live", tmp_path).splits_kind == "shipped"


def test_the_hash_of_splits_does_not_depend_on_how_they_are_stored(tmp_path: Path) -> None:
    folder = small("kadid10k", tmp_path) / "splits"
    before = get_dataset("kadid10k", tmp_path).splits_hash
    for path in folder.glob("*.npy"):
        np.save(path, np.pad(np.load(path), ((0, 0), (0, 5)), constant_values=-1).astype(np.int32))
    assert get_dataset("kadid10k", tmp_path).splits_hash == before
    train = np.load(folder / "train.npy")
    np.save(folder / "train.npy", train[:, 1:])
    assert get_dataset("kadid10k", tmp_path).splits_hash != before
