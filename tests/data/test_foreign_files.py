"""Files of other origin: whatever they do to a parser, and odd names, end in one line that names the file."""

import io
import unicodedata
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from PIL import Image

from data import get_dataset
from data.split_files import make_splits, save_splits
from models.errors import ImageError, UserError
from models.image_file import open_image
from tests.data.layouts import make_small
from utils.command import run_command
from utils.config.command_line import nonempty_path
from utils.config.yaml_file import load_config
from utils.evaluation.score_file import read_scores

DEEP = "[" * 100_000


def mat(**content: object) -> bytes:
    file = io.BytesIO()
    scipy.io.savemat(file, content)
    return file.getvalue()


def header(shape: str) -> bytes:
    """An .npy file that claims to have this shape, and ends there."""
    text = f"{{'descr': '<i8', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


DAMAGED = [
    ("clive", "Data/AllMOS_release.mat", b""),
    ("clive", "Data/AllMOS_release.mat", b"text\n" * 100),
    ("clive", "Data/AllMOS_release.mat", b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM\x89HDF\r\n\x1a\n"),
    ("clive", "Data/AllMOS_release.mat", mat(AllMOS_release=np.array([["a", "b"]], dtype=object))),
    ("clive", "Data/AllImages_release.mat", mat(AllImages_release=np.zeros((0, 0), dtype=object))),
    ("clive", "Data/AllImages_release.mat", mat(another=1)),
    ("spaq", "Annotations/MOS and Image attribute scores.xlsx", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600)),
    ("spaq", "Annotations/MOS and Image attribute scores.xlsx", b"PK\x03\x04 broken"),
    ("kadid10k", "dmos.csv", b"dist_img,ref_img,dmos\n" + b"x" * 200_000 + b",b,1\n"),
    ("kadid10k", "dmos.csv", b"dist_img,ref_img,dmos\nI01\x00_01_01.png,I01.png,1\n"),
    ("kadid10k", "splits/val.npy", header("(10000000000000,)")),
    ("kadid10k", "splits/val.npy", header("(" * 200)),
    ("kadid10k", "splits/made_for.json", DEEP.encode()),
    ("kadid10k", "splits/made_for.json", b"[]"),
]


@pytest.mark.parametrize(("name", "file", "content"), DAMAGED, ids=[f"{i} {row[1]}" for i, row in enumerate(DAMAGED)])
def test_a_damaged_file_of_a_dataset_is_one_line(tmp_path: Path, name: str, file: str, content: bytes) -> None:
    root = tmp_path / {"clive": "CLIVE", "spaq": "SPAQ", "kadid10k": "KADID10K"}[name]
    make_small(name, root)
    dataset = get_dataset(name, tmp_path, with_splits=False)
    save_splits(root / "splits", make_splits(len(dataset), dataset.ref_images), dataset.names)
    (root / file).write_bytes(content)
    with pytest.raises(UserError) as error:
        get_dataset(name, tmp_path)
    text = str(error.value)
    assert str(root / Path(file).parts[0]) in text and "\n" not in text and len(text) < 700


TEXTS = ["seed: !!bool abc", "seed: !!int ''", f"seed: {DEEP}", 'data_base_path: "a\\0b"']


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: text[:20])
def test_a_damaged_configuration_is_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "mine.yaml").write_text(f"experiment_name: a\n{text}\n")
    with pytest.raises(UserError, match=r"mine\.yaml") as error:
        load_config(tmp_path / "mine.yaml")
    assert "\n" not in str(error.value)


def test_a_value_is_shortened_and_a_path_is_not(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(f"experiment_name: a\nseed: {'x' * 5000}\n")
    with pytest.raises(UserError) as error:
        load_config(tmp_path / "mine.yaml")
    assert len(str(error.value)) < 200 + len(str(tmp_path)) + 100
    long = tmp_path / "/".join(["a" * 100] * 3)
    with pytest.raises(UserError, match=f"{long}"):
        get_dataset("live", long)


def test_a_file_of_scores_with_a_long_field_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    path.write_text("image,score,error,model,percentile\r\n" + "x" * 200_000 + ",1,,m,\r\n")
    with pytest.raises(
        UserError, match=r"scores\.csv: not a file of scores of one regressor \(field larger than"
    ) as error:
        read_scores(path)
    assert "\n" not in str(error.value)


def own(folder: Path, *names: str) -> Path:
    """A dataset of one's own with these names in its labels.csv, and an image `photo é.png` in NFD, as macOS has it."""
    folder.mkdir()
    Image.new("RGB", (40, 40)).save(folder / f"{unicodedata.normalize('NFD', 'photo é')}.png")
    rows = [f"{name},{number}" for number, name in enumerate(names)]
    (folder / "labels.csv").write_text("\n".join(["image,score", *rows]) + "\n", encoding="utf-8")
    return folder


def test_names_are_compared_in_nfc(tmp_path: Path) -> None:
    own(tmp_path / "mine", unicodedata.normalize("NFC", "photo é.png"), "b.png")
    assert get_dataset("mine", tmp_path, with_splits=False).open_image(0).size == (40, 40)


def test_a_space_at_the_end_of_a_name_is_seen(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"^'.*a\.png ': not a readable image \(no such file\)"):
        open_image(tmp_path / "a.png ")


def test_a_tilde_is_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    own(tmp_path / "mine", "a.png", "b.png")
    assert len(get_dataset("mine", "~", with_splits=False)) == 2
    assert nonempty_path("~/mine") == tmp_path / "mine"


@pytest.mark.parametrize("raise_it", [lambda: get_dataset("live", "a\nb"), lambda: open_image("a\nb.png")])
def test_a_line_break_in_a_name_is_shown_escaped(
    raise_it: Callable[[], object], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        run_command(lambda: raise_it() and None)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ") and "a\\nb" in line
