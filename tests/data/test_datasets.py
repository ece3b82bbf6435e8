import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.io
from PIL import Image

from data import IQA_DATASETS, IQADataset, get_dataset
from data.iqa_dataset import _listing
from models.errors import UserError
from models.image_file import open_image
from models.preprocess import center_corners_crop, half_scale_bicubic, resize_shorter_side_bicubic
from tests.data.layouts import annotated, make_small, packaged, small, small_table

NAMES = list(IQA_DATASETS)
# The annotation file; paper, section 4.1: nominal range, and "mos" (higher is better) or "dmos" (lower is better).
DATASETS = {
    "live": ("LIVE.txt", 1, 100, "dmos"),
    "csiq": ("CSIQ.txt", 0, 1, "dmos"),
    "tid2013": ("mos_with_names.txt", 0, 9, "mos"),
    "kadid10k": ("dmos.csv", 1, 5, "mos"),
    "flive": ("labels_image.csv", 1, 100, "mos"),
    "spaq": ("Annotations/MOS and Image attribute scores.xlsx", 1, 100, "mos"),
    "clive": ("Data/AllMOS_release.mat", 1, 100, "mos"),
    "koniq10k": ("koniq10k_scores_and_distributions.csv", 1, 100, "mos"),
    "uhdiqa": ("uhd-iqa-metadata.csv", 0, 1, "mos"),
}
SIZES = {  # images and references
    "live": (779, 29),
    "csiq": (866, 30),
    "tid2013": (3000, 25),
    "kadid10k": (10125, 81),
    "spaq": (11125, None),
    "koniq10k": (10073, None),
}
SYNTHETIC = ["live", "csiq", "tid2013", "kadid10k"]


def root_of(name: str, base: Path) -> Path:
    return base / IQA_DATASETS[name].folder


def annotation_of(name: str, base: Path) -> Path:
    """The annotation file of a small dataset, which is made."""
    make_small(name, root_of(name, base))
    return root_of(name, base) / DATASETS[name][0]


def open_small(name: str, base: Path) -> IQADataset:
    if name in ("flive", "clive", "uhdiqa"):
        make_small(name, root_of(name, base))
    else:
        small(name, base)
    return get_dataset(name, base, crop_size=32)


def refused(name: str, base: Path, match: str) -> None:
    with pytest.raises(UserError, match=match) as error:
        get_dataset(name, base)
    assert "\n" not in str(error.value) and str(root_of(name, base)) in str(error.value)


def test_score_ranges_of_the_nine_datasets() -> None:
    assert {n: (*d.mos_range, d.mos_type) for n, d in IQA_DATASETS.items()} == {
        n: row[1:] for n, row in DATASETS.items()
    }


@pytest.mark.parametrize("name", NAMES)
def test_a_small_dataset_in_the_original_layout(name: str, tmp_path: Path) -> None:
    dataset, table = open_small(name, tmp_path), small_table(name)
    assert len(dataset) == len(table) == 30
    np.testing.assert_allclose(dataset.mos, table["score"])
    assert [path.name for path in dataset.images] == [path.split("/")[-1] for path in table["dis_img_path"]]
    item, image = dataset[7], open_image(dataset.images[7])
    image = resize_shorter_side_bicubic(image, 512) if name == "spaq" else image
    for key, scale in (("full", image), ("half", half_scale_bicubic(image))):
        expected = np.stack([np.asarray(crop).transpose(2, 0, 1) for crop in center_corners_crop(scale, 32)])
        np.testing.assert_array_equal(item[key].numpy(), expected)
    units = dataset.ref_images or dataset.names
    assert dataset.synthetic == (name in SYNTHETIC) and len(set(units)) == (5 if dataset.synthetic else 30)
    for split in range(dataset.num_splits):
        parts = [dataset.get_split_indices(split, phase).tolist() for phase in ("train", "val", "test")]
        assert sorted(row for part in parts for row in part) == list(range(30))
        assert sum(len({units[row] for row in part}) for part in parts) == len(set(units))
    assert len(dataset.get_split_indices(0, "all")) == 30
    for path in dataset.images:  # names are matched without case
        path.rename(path.with_name(path.name.swapcase()))
    _listing.cache_clear()
    assert all(path.is_file() for path in get_dataset(name, tmp_path).images)


@pytest.mark.parametrize("name", SYNTHETIC)
def test_each_image_has_its_reference_image(name: str, tmp_path: Path) -> None:
    small(name, tmp_path)
    names = small_table(name)["ref_img_path"]
    colours = {path.split("/")[-1]: number for number, path in enumerate(sorted(set(names)))}
    for path in set(names):
        file = root_of(name, tmp_path) / path.split("/", 1)[1]
        file.parent.mkdir(exist_ok=True)
        Image.new("RGB", (40, 30), (colours[file.name], 0, 0)).save(file)
    _listing.cache_clear()
    dataset = get_dataset(name, tmp_path, crop_size=32)
    references, of = dataset.references()
    assert len(references) == 5 and references.crop_size == 32
    assert [references.images[row].name for row in of] == [path.split("/")[-1] for path in names]
    for row in range(5):
        assert references[row]["full"][1, 0, 0, 0] == colours[references.images[row].name]
    assert references.annotation_hash != dataset.annotation_hash and references.name != dataset.name


def test_an_authentic_dataset_has_no_references(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="spaq: has no reference images"):
        open_small("spaq", tmp_path).references()


@pytest.mark.parametrize("name", list(SIZES))
def test_the_shipped_splits_match_the_real_annotation(name: str, tmp_path: Path) -> None:
    rows, references = SIZES[name]
    annotated(name, tmp_path)
    dataset = get_dataset(name, tmp_path)
    assert len(dataset) == rows and dataset.num_splits == 10 and dataset.splits_kind == "shipped"
    assert references is None or len({r.casefold() for r in dataset.ref_images}) == references
    for split in range(10):
        sizes = [len(dataset.get_split_indices(split, phase)) for phase in ("train", "val", "test")]
        assert sum(sizes) == rows
        np.testing.assert_allclose(np.array(sizes) / rows, [0.7, 0.1, 0.2], atol=0.04)


# The published types of the four synthetic datasets by their published groups; numbers are those of file names.
GROUPS = {
    "live": {"noise": ["white_noise"], "blur": ["gaussian_blur"], "jpeg": ["jpeg2000", "jpeg", "fast_fading"]},
    "csiq": {"noise": ["awgn", "fnoise"], "blur": ["blur"], "sharpness_contrast": ["contrast"],
             "jpeg": ["jpeg", "jpeg2000"]},
    "tid2013": {"blur": [8], "color_distortion": [2, 18, 22, 23], "jpeg": [10, 11, 12, 13], "brightness_change": [16],
                "noise": [1, 3, 4, 5, 6, 7, 9, 19, 20, 21], "spatial_distortion": [14, 15, 24],
                "sharpness_contrast": [17]},
    "kadid10k": {"blur": [1, 2, 3], "color_distortion": [4, 5, 6, 7, 8], "jpeg": [9, 10],
                 "noise": [11, 12, 13, 14, 15], "brightness_change": [16, 17, 18],
                 "spatial_distortion": [19, 20, 21, 22, 23], "sharpness_contrast": [24, 25]},
}  # fmt: skip
TYPE_NAMES = {
    "tid2013": """additive_gaussian_noise intensive_color_noise spatially_correlated_noise masked_noise
        high_frequency_noise impulse_noise quantization_noise gaussian_blur image_denoising jpeg_compression
        jpeg2000_compression jpeg_transmission_errors jpeg2000_transmission_errors non_eccentricity_pattern_noise
        local_blockwise_distortions mean_shift contrast_change color_saturation_change multiplicative_gaussian_noise
        comfort_noise lossy_compression_noisy_images color_quantization_with_dither chromatic_aberrations
        sparse_sampling_reconstruction""",
    "kadid10k": """gaussian_blur lens_blur motion_blur color_diffusion color_shift color_quantization color_saturation_1
        color_saturation_2 jpeg2000 jpeg white_noise white_noise_color_component impulse_noise multiplicative_noise
        denoise brighten darken mean_shift jitter non_eccentricity_patch pixelate quantization color_block high_sharpen
        contrast_change""",
}


@pytest.mark.parametrize("name", SYNTHETIC)
def test_types_and_groups_are_the_published_ones(name: str, tmp_path: Path) -> None:
    """Our types are also one-to-one with those of the package iqadataset."""
    annotated(name, tmp_path)
    dataset, table = get_dataset(name, tmp_path, with_splits=False), packaged(name)
    found: dict[str, set[str]] = {}
    for kind, group in zip(dataset.distortion_types, dataset.distortion_groups, strict=True):
        found.setdefault(group, set()).add(kind)
    names = TYPE_NAMES.get(name, "").split()
    expected = {g: {names[k - 1] if names else k for k in kinds} for g, kinds in GROUPS[name].items()}
    assert found == expected
    pairs = set(zip(dataset.distortion_types, table["dis_type"], strict=True))
    assert len(pairs) == len(set(dataset.distortion_types))  # TID2013: two of our types have one name there
    if names:  # the number in the file's name
        assert dataset.distortion_types == [names[int(path.name.split("_")[1]) - 1] for path in dataset.images]
        assert set(dataset.distortion_levels) == {1, 2, 3, 4, 5} and ("gaussian_blur", "GBLUR") in pairs
    elif name == "live":
        assert {("jpeg2000", "jp2k"), ("white_noise", "wn"), ("gaussian_blur", "gblur"), ("jpeg", "jpeg")} < pairs
    else:
        assert dataset.distortion_types == [path.name.split(".")[1].lower() for path in dataset.images]


def test_the_official_flive_split_is_read_from_its_files(tmp_path: Path) -> None:
    dataset = open_small("flive", tmp_path)
    assert dataset.num_splits == 1
    np.testing.assert_array_equal(dataset.get_split_indices(0, "test"), range(0, 30, 5))
    np.testing.assert_array_equal(dataset.get_split_indices(0, "val"), range(1, 30, 5))
    assert (root_of("flive", tmp_path) / "splits" / "made_for.json").exists()


def test_the_official_uhdiqa_split_is_read_from_the_real_annotation(tmp_path: Path) -> None:
    annotated("uhdiqa", tmp_path)
    for _ in range(2):  # made on first use, then read
        dataset = get_dataset("uhdiqa", tmp_path)
        parts = {phase: dataset.get_split_indices(0, phase) for phase in ("train", "val", "test")}
        assert [len(part) for part in parts.values()] == [4269, 904, 900] and dataset.num_splits == 1
        for phase, folder in (("train", "training"), ("val", "validation"), ("test", "test")):
            assert {dataset.images[row].parent.name for row in parts[phase]} == {folder}
        assert dataset.splits_kind == "official"
    np.testing.assert_allclose(dataset.mos, packaged("uhdiqa")["score"])


def test_a_chosen_shorter_side_resizes_images_that_have_no_size_of_their_own(tmp_path: Path) -> None:
    for name, side in (("uhdiqa", 15), ("spaq", 512)):
        open_small(name, tmp_path)  # 40 x 30 pixels
        dataset = get_dataset(name, tmp_path, crop_size=32, shorter_side=15)
        expected = Image.open(dataset.images[0]).resize((side * 4 // 3, side), Image.Resampling.BICUBIC)
        np.testing.assert_array_equal(np.asarray(dataset.open_image(0)), np.asarray(expected))
        assert dataset.shorter_side == side
    assert get_dataset("uhdiqa", tmp_path).open_image(0).size == (40, 30)


def test_koniq10k_at_the_smaller_size(tmp_path: Path) -> None:
    open_small("koniq10k", tmp_path)
    root = root_of("koniq10k", tmp_path)
    (root / "1024x768").rename(root / "512x384")
    assert get_dataset("koniq10k", tmp_path).images[0].parent.name == "512x384"


@pytest.mark.parametrize(
    ("size", "expected"),
    [((1000, 700), (731, 512)), ((300, 400), (512, 682)), ((5, 5), (512, 512)), ((512, 905), (512, 904))],
)
def test_spaqs_shorter_side_becomes_512(size: tuple[int, int], expected: tuple[int, int]) -> None:
    """The last size: 512 / (512 / 905) is a little less than 905 in floating point, and truncated as published."""
    assert resize_shorter_side_bicubic(Image.new("RGB", size), 512).size == expected


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_or_damaged_annotation_names_the_path_and_the_source(name: str, tmp_path: Path) -> None:
    source = re.escape(IQA_DATASETS[name].source)
    refused(name, tmp_path, f"no such folder; it must contain {name} .*{source}")
    path = annotation_of(name, tmp_path)
    path.unlink()
    refused(name, tmp_path, f"{re.escape(path.name)}: .*not found.*{source}")
    path.write_bytes(b"\x00\x01 nothing of the kind")
    refused(name, tmp_path, re.escape(path.name))


@pytest.mark.parametrize(
    ("name", "old", "new", "match"),
    [  # a type without a group would be a group of its own in the manifold and its silhouette
        ("live", ",wn,", ",haze,", "has the type haze, which has no group; allowed: .*jpeg2000"),
        ("csiq", "ref3.AWGN.4", "ref3.haze.4", "has the type haze, which has no group; allowed: .*jpeg2000"),
        ("csiq", "ref0.AWGN.1.png", "ref0.AWGN.png", r"row 1 is .*ref0\.AWGN\.png'; expected <path>/<reference>"),
        ("kadid10k", "I01_01_1", "I01_26_1", r"dist_img in row 1 .*expected <reference>_<type 1\.\.25>_<level>"),
        ("tid2013", "i01_01_1", "i01_25_1", r"name in row 1 .*expected <reference>_<type 1\.\.24>_<level>"),
        ("uhdiqa", ",training,", ",train,", "set in row 1 is 'train'; expected training or validation or test"),
        ("uhdiqa", ",validation,", ",training,", "the official split has no val images"),
        ("kadid10k", ",dmos", ",mos", "dmos.csv: missing columns: dmos; found: "),
    ],
)
def test_an_annotation_with_something_else_is_one_line(
    name: str, old: str, new: str, match: str, tmp_path: Path
) -> None:
    path = annotation_of(name, tmp_path)
    content = path.read_text().replace("_01_01.png", "_01_1.png")
    assert old in content
    path.write_text(content.replace(old, new))
    refused(name, tmp_path, match)


def test_a_missing_split_file_of_flive_says_where_to_get_it(tmp_path: Path) -> None:
    make_small("flive", root_of("flive", tmp_path))
    (root_of("flive", tmp_path) / "labels640.csv").unlink()
    refused("flive", tmp_path, r"labels640\.csv: .*not found.*PaQ-2-PiQ")


def test_clive_with_more_scores_than_names_is_refused(tmp_path: Path) -> None:
    scipy.io.savemat(annotation_of("clive", tmp_path), {"AllMOS_release": np.full((1, 40), 50.0)})
    refused("clive", tmp_path, "Data: 37 image names but 40 scores; they must match")


def test_an_unknown_name_lists_the_nine_datasets_and_the_custom_option(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"koniq.*not found; allowed: live, csiq.*labels\.csv"):
        get_dataset("koniq", tmp_path)


def test_the_annotation_hash_changes_with_names_and_scores(tmp_path: Path) -> None:
    dataset = open_small("kadid10k", tmp_path)
    path = root_of("kadid10k", tmp_path) / "dmos.csv"
    assert get_dataset("kadid10k", tmp_path).annotation_hash == dataset.annotation_hash
    table = pd.read_csv(path)
    table.loc[0, "dmos"] += 0.001
    table.to_csv(path, index=False)
    assert get_dataset("kadid10k", tmp_path).annotation_hash != dataset.annotation_hash


def test_a_column_that_is_twice_in_a_spreadsheet_is_refused(tmp_path: Path) -> None:
    path = annotation_of("spaq", tmp_path)
    table = pd.read_excel(path)
    table.insert(2, "MOS", 1.0, allow_duplicates=True)
    table.to_excel(path, index=False)
    refused("spaq", tmp_path, "the column MOS is there 2 times")
    path.write_bytes(path.read_bytes()[:2000])
    refused("spaq", tmp_path, "not a readable table")
