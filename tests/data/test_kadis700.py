import itertools
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import chisquare

from data.kadis700 import KADIS700Dataset, collate_samples, random_crop, sample_generator
from models.errors import UserError
from utils.distortions import DISTORTIONS

MEAN = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
STD = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
CROPS = ("img_A_orig", "img_A_ds", "img_B_orig", "img_B_ds")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight noise images of 90 x 70."""
    folder = tmp_path_factory.mktemp("KADIS700")
    (folder / "ref_imgs").mkdir()
    rng = np.random.default_rng(0)
    for i in range(8):
        pixels = rng.integers(0, 256, (70, 90, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "ref_imgs" / f"{i}.png")
    return folder


def test_a_batch_has_the_full_scale_crops_first_then_those_at_half_scale(root: Path) -> None:
    samples = [KADIS700Dataset(root, patch_size=48)[0, i] for i in range(3)]
    batch = collate_samples(samples)
    for i, sample in enumerate(samples):
        for view in "AB":
            assert torch.equal(batch[f"view_{view.lower()}"][i], sample[f"img_{view}_orig"])
            assert torch.equal(batch[f"view_{view.lower()}"][3 + i], sample[f"img_{view}_ds"])
        assert batch["img_A_name"][i] == sample["img_A_name"] and batch["composition"][i] == sample["composition"]


@pytest.mark.parametrize("settings", [{"max_distortions": 0}, {"pristine_prob": 1.0}])
def test_pristine_crops_are_normalised_pixels_of_the_image_padded_with_zeros(root: Path, settings: dict) -> None:
    sample = KADIS700Dataset(root, patch_size=64, **settings)[0, 1]
    assert sample["composition"] == []
    image = Image.open(root / "ref_imgs" / "1.png")
    full = np.asarray(image)
    crop = np.rint(((sample["img_A_orig"] * STD + MEAN) * 255).permute(1, 2, 0).numpy()).astype(int)
    assert any(np.array_equal(crop, full[y : y + 64, x : x + 64]) for y in range(70 - 64) for x in range(90 - 64))
    half = np.zeros((64, 64, 3), int)
    half[:35, :45] = np.asarray(image.resize((45, 35), Image.Resampling.BICUBIC))
    crop = np.rint(((sample["img_A_ds"] * STD + MEAN) * 255).permute(1, 2, 0).numpy()).astype(int)
    np.testing.assert_allclose(crop, half, atol=1)  # tests/test_fidelity.py counts the differing values


def test_crop_offsets_are_uniform_in_0_to_side_minus_crop() -> None:
    pixels = np.zeros((20, 30, 3), np.uint8)
    pixels[..., 0], pixels[..., 1] = np.arange(30)[None, :], np.arange(20)[:, None]
    image, generator = torch.from_numpy(pixels).permute(2, 0, 1), torch.Generator().manual_seed(0)
    corners = np.array([255 * random_crop(image, 16, generator)[:2, 0, 0].numpy() for _ in range(2000)])
    corners = np.rint(corners).astype(int)
    for axis, count in ((0, 30 - 16), (1, 20 - 16)):
        seen = np.bincount(corners[:, axis], minlength=count)
        assert len(seen) == count and chisquare(seen).pvalue > 1e-4


def test_the_second_image_is_drawn_from_the_whole_set(root: Path) -> None:
    dataset = KADIS700Dataset(root, patch_size=8, max_distortions=0)
    names = [dataset[epoch, 0]["img_B_name"] for epoch in range(120)]
    assert set(names) == {f"{i}.png" for i in range(8)}


def test_with_same_image_b_has_crops_of_its_own_and_all_else_stays(root: Path) -> None:
    """The paper's comparison changes nothing but the image of view B."""
    different, same = (KADIS700Dataset(root, patch_size=48, same_image=value) for value in (False, True))
    compositions = set()
    for index in range(8):
        one, other = different[3, index], same[3, index]
        assert other["img_A_name"] == other["img_B_name"] == f"{index}.png"
        assert one["composition"] == other["composition"]
        compositions |= {kind for kind, _ in one["composition"]}
        assert all(torch.equal(one[name], other[name]) for name in ("img_A_orig", "img_A_ds"))
        assert torch.equal(one["img_B_orig"], other["img_B_orig"]) == (one["img_B_name"] == f"{index}.png")
        assert not torch.equal(other["img_A_orig"], other["img_B_orig"])
    assert len({DISTORTIONS[kind].group for kind in compositions}) >= 6


@pytest.mark.parametrize("same_image", [False, True])
def test_an_unreadable_image_is_replaced_and_reported(root: Path, tmp_path: Path, same_image: bool) -> None:
    shutil.copytree(root / "ref_imgs", tmp_path, dirs_exist_ok=True)
    (tmp_path / "1.png").write_bytes(b"no image")
    sample = KADIS700Dataset(tmp_path, patch_size=16, images_folder=".", same_image=same_image)[0, 1]
    assert sample["img_A_name"] in {f"{i}.png" for i in range(8)} - {"1.png"}
    assert "1.png" in sample["unreadable"][0]
    assert not same_image or sample["img_B_name"] == sample["img_A_name"]


def test_a_truncated_image_is_read_and_reported(root: Path, tmp_path: Path) -> None:
    content = (root / "ref_imgs" / "0.png").read_bytes()
    (tmp_path / "0.png").write_bytes(content[: len(content) // 2])
    sample = KADIS700Dataset(tmp_path, patch_size=64, images_folder=".", max_distortions=0)[0, 0]
    assert sample["img_A_name"] == "0.png" and sample["unreadable"] == []
    assert sample["img_A_orig"][0].std() > 0  # the stand-in for an unreadable image is black
    assert len(set(sample["truncated"])) == 1 and "0.png: truncated" in sample["truncated"][0]


def test_an_empty_folder_is_reported(tmp_path: Path) -> None:
    (tmp_path / "ref_imgs").mkdir()
    with pytest.raises(UserError, match=r"no images found.*\.png"):
        KADIS700Dataset(tmp_path)


def test_generators_of_neighbouring_samples_differ() -> None:
    samples = itertools.product((27, 28), range(10), range(100))  # seed, epoch, index
    assert len({sample_generator(*sample).initial_seed() for sample in samples}) == 2000
