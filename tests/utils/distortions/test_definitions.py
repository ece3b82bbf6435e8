"""Compares kernels, curves and colours with SciPy, scikit-image, and geometric or sampled references."""

import numpy as np
import pytest
import scipy.stats
import torch
from PIL import Image
from scipy.interpolate import CubicSpline
from scipy.ndimage import correlate, gaussian_filter
from skimage import color

from utils.distortions import DISTORTIONS
from utils.distortions.blur import disk_kernel, motion_kernel
from utils.distortions.brightness_change import parabola
from utils.distortions.color_distortion import edge_map
from utils.distortions.colorspace import f_to_rgb, rgb_to_f
from utils.distortions.filtering import filter2d, gaussian_blur, gaussian_kernel

GENERATOR = torch.Generator()


def photo(height: int = 61, width: int = 80) -> torch.Tensor:
    """Synthetic test image: smooth noise plus pixel noise."""
    generator = torch.Generator().manual_seed(3)
    noise = torch.rand(1, 3, 8, 10, generator=generator)
    smooth = torch.nn.functional.interpolate(noise, (height, width), mode="bilinear")[0]
    return (0.8 * smooth + 0.2 * torch.rand(3, height, width, generator=generator)).clamp(0, 1)


@pytest.mark.parametrize("radius", [1, 2, 4, 6, 8])
def test_disk_weights_are_the_pixel_areas_inside_the_disk(radius: int) -> None:
    kernel = disk_kernel(radius).numpy()
    half, fine = kernel.shape[0] // 2, 64
    grid = (np.arange((2 * half + 1) * fine) + 0.5) / fine - half - 0.5
    inside = (grid[:, None] ** 2 + grid[None, :] ** 2 <= radius**2).astype(float)
    area = inside.reshape(2 * half + 1, fine, 2 * half + 1, fine).mean(axis=(1, 3))
    assert half >= radius - 0.5
    np.testing.assert_allclose(kernel, area / (np.pi * radius**2), atol=2e-3 / radius**2)
    assert kernel.sum() == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("length", [1, 2, 4, 6, 10])
@pytest.mark.parametrize("angle", [0, 17, 45, 90, 135, 180])
def test_the_motion_kernel_is_a_line_of_that_length_and_angle(length: int, angle: int) -> None:
    kernel = motion_kernel(length, angle).numpy()
    assert kernel.sum() == pytest.approx(1, abs=1e-12)
    np.testing.assert_allclose(kernel, kernel[::-1, ::-1])
    y, x = np.nonzero(kernel)
    y, x = -(y - kernel.shape[0] // 2), x - kernel.shape[1] // 2
    direction = np.array([np.cos(np.radians(angle)), np.sin(np.radians(angle))])
    along, across = x * direction[0] + y * direction[1], y * direction[0] - x * direction[1]
    assert np.abs(across).max() < 1 and np.abs(along).max() < (length - 1) / 2 + 1
    if length >= 4:  # the principal axis is the direction of the line
        weights = kernel[np.nonzero(kernel)]
        moments = np.cov(np.stack([x, y]), aweights=weights)
        axis = np.linalg.eigh(moments)[1][:, 1]
        assert abs(axis @ direction) > 0.995
        assert (weights * along**2).sum() == pytest.approx((length**2 - 1) / 12, rel=0.25)


@pytest.mark.parametrize("sigma", [0.5, 2, 5, 20])
def test_the_gaussian_blur_equals_scipys_with_the_same_radius(sigma: float) -> None:
    image = photo()
    radius = len(gaussian_kernel(sigma)) // 2
    assert radius == np.ceil(2 * sigma)
    for channel, blurred in zip(image.double().numpy(), gaussian_blur(image.double(), sigma).numpy(), strict=True):
        expected = gaussian_filter(channel, sigma, mode="nearest", radius=radius)
        np.testing.assert_allclose(blurred, expected, atol=1e-10)


@pytest.mark.parametrize("kernel", [motion_kernel(10, 30), disk_kernel(6)], ids=["few taps", "many taps"])
def test_filtering_is_correlation_with_a_replicated_border(kernel: torch.Tensor) -> None:
    image = photo().double()
    for channel, filtered in zip(image.numpy(), filter2d(image, kernel).numpy(), strict=True):
        np.testing.assert_allclose(filtered, correlate(channel, kernel.numpy(), mode="nearest"), atol=1e-10)


def test_lab_equals_scikit_image() -> None:
    image = photo()
    expected = color.rgb2lab(image.permute(1, 2, 0).double().numpy())
    x, y, z = rgb_to_f(image.double())
    lab = torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], dim=-1).numpy()
    np.testing.assert_allclose(lab, expected, atol=2e-3)
    stretched = torch.stack([y + 4 * (x - y), y, y - 4 * (y - z)])  # a and b times 4: far out of gamut
    with np.errstate(all="ignore"):
        back = color.lab2rgb(lab * [1, 4, 4])
    np.testing.assert_allclose(f_to_rgb(stretched.clone()).permute(1, 2, 0).numpy(), back, atol=1e-3)
    np.testing.assert_allclose(rgb_to_f(image).numpy(), rgb_to_f(image.double()).numpy(), atol=1e-6)


@pytest.mark.parametrize("level", DISTORTIONS["colorsat1"].levels[:4])
def test_saturation_equals_scaling_s_in_hsv(level: float) -> None:
    image = photo()
    hsv = color.rgb2hsv(image.permute(1, 2, 0).double().numpy())
    hsv[..., 1] *= level
    output = DISTORTIONS["colorsat1"](image, level, GENERATOR).permute(1, 2, 0).numpy()
    np.testing.assert_allclose(output, color.hsv2rgb(hsv), atol=1e-5)


@pytest.mark.parametrize("level", DISTORTIONS["lincontrchange"].levels)
def test_the_contrast_curve_equals_scipys_not_a_knot_spline(level: float) -> None:
    spline = CubicSpline([0, 0.3, 0.5, 0.7, 1], [0, 0.25 - level / 4, 0.5, 0.75 + level / 4, 1], bc_type="not-a-knot")
    image = photo()
    expected = np.clip(spline(image.double().numpy()), 0, 1)
    np.testing.assert_allclose(DISTORTIONS["lincontrchange"](image, level, GENERATOR).numpy(), expected, atol=1e-5)


@pytest.mark.parametrize("level", DISTORTIONS["brighten"].levels + tuple(-v for v in DISTORTIONS["darken"].levels))
def test_the_brightness_curve_goes_through_its_points(level: float) -> None:
    coefficients = np.polyfit([0, 0.5, 1], [0, 0.5 + level / 2, 1], 2)
    x = torch.linspace(0, 1, 101, dtype=torch.float64)
    np.testing.assert_allclose(parabola(x, level).numpy(), np.clip(np.polyval(coefficients, x), 0, 1), atol=1e-12)


@pytest.mark.parametrize(("kind", "variance"), [("whitenoise", 0.01), ("multnoise", 0.05)])
def test_noise_has_the_given_variance(kind: str, variance: float) -> None:
    image = torch.full((3, 200, 200), 0.5)
    change = DISTORTIONS[kind](image, variance, torch.Generator().manual_seed(0)) - image
    expected = variance * (0.25 if kind == "multnoise" else 1)
    assert change.var().item() == pytest.approx(expected, rel=0.03)
    assert change.mean().item() == pytest.approx(0, abs=0.002)


def test_noise_in_ycbcr_has_the_given_variance_in_all_three_components() -> None:
    image = torch.full((3, 200, 200), 0.5)
    output = DISTORTIONS["whitenoiseCC"](image, 0.003, torch.Generator().manual_seed(0))
    r, g, b = (output - image).double()
    y = 0.299 * r + 0.587 * g + 0.114 * b
    for component in (y, (b - y) / 1.772, (r - y) / 1.402):
        assert component.var().item() == pytest.approx(0.003, rel=0.03)


def test_impulse_noise_sets_the_given_fraction_of_values_to_0_and_1() -> None:
    image = torch.full((3, 100, 100), 0.5)
    output = DISTORTIONS["impulsenoise"](image, 0.03, torch.Generator().manual_seed(0))
    assert set(output.unique().tolist()) == {0.0, 0.5, 1.0}
    drawn = int(0.03 * 30000)
    assert 0.97 * drawn <= (output != 0.5).sum() <= drawn
    assert (output == 1).sum().item() == pytest.approx(drawn / 2, rel=0.03)


@pytest.mark.parametrize("size", [(61, 80), (33, 3), (2, 2)])
def test_the_edge_map_is_the_clipped_smoothed_gradient(size: tuple[int, int]) -> None:
    image = photo(*size).double()
    padded = np.pad(np.tensordot([0.299, 0.587, 0.114], image.numpy(), 1), 1, mode="edge")
    dy, dx = (np.gradient(padded, axis=axis)[1:-1, 1:-1] for axis in (0, 1))
    magnitude = gaussian_filter(np.hypot(dx, dy), 4, mode="nearest", radius=8)
    edges = (magnitude - magnitude.min()) / np.ptp(magnitude)
    np.testing.assert_allclose(edge_map(image), np.clip(edges, *np.percentile(edges, [1, 99])), atol=1e-10)


def test_the_shift_moves_green_right_and_down_where_there_are_edges() -> None:
    image = photo()
    output = DISTORTIONS["colorshift"](image, 6, torch.Generator().manual_seed(0))
    assert torch.equal(output[[0, 2]], image[[0, 2]])
    assert not torch.equal(output[1], image[1])
    flat = torch.full((3, 50, 50), 0.7)
    assert torch.equal(DISTORTIONS["colorshift"](flat, 6, torch.Generator().manual_seed(0)), flat)


@pytest.mark.parametrize("level", DISTORTIONS["quantization"].levels)
def test_quantisation_equals_numpy_digitize_with_right_closed_bins(level: int) -> None:
    image = (photo() * 255).round() / 255
    edges = np.trunc(np.r_[0, np.linspace(0, 255, level + 1)[1:-1], 256])
    bins = np.digitize((image * 255).round().numpy(), edges, right=True).astype(float)
    expected = (bins - bins.min()) / (bins.max() - bins.min())
    np.testing.assert_allclose(DISTORTIONS["quantization"](image, level, GENERATOR).numpy(), expected, atol=1e-6)


def test_blocks_are_32_pixels_of_one_colour() -> None:
    image = torch.full((3, 128, 128), 0.5)
    output = DISTORTIONS["colorblock"](image, 2, torch.Generator().manual_seed(0))
    colours, counts = np.unique(output.flatten(1).numpy(), axis=1, return_counts=True)
    assert colours.shape[1] == 3
    assert sorted(counts)[-2] == 32 * 32


def test_patches_are_copied_from_inside_the_image() -> None:
    image = torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(0))
    output = DISTORTIONS["noneccpatch"](image, 20, torch.Generator().manual_seed(1))
    known = {tuple(pixel) for pixel in image.flatten(1).T.tolist()}
    assert {tuple(pixel) for pixel in output.flatten(1).T.tolist()} <= known
    changed = (output != image).any(0)
    assert changed.any() and not changed[:8].any() and not changed[-8:].any()


def places(name: str, height: int, width: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Top-left corners (count x 2: y, x) and displacements of one patch or block, from images with unique pixels."""
    image = torch.arange(height * width).div(height * width).reshape(1, height, width).repeat(3, 1, 1)
    generator = torch.Generator().manual_seed(0)
    corners, moves = [], []
    while len(corners) < count:
        output = DISTORTIONS[name].function(image, 1, generator)
        ys, xs = (output[0] != image[0]).nonzero().T
        if len(ys) == 0:  # a patch that was copied onto itself
            continue
        y, x = ys.min().item(), xs.min().item()
        source = round(output[0, y, x].item() * height * width)
        corners.append((y, x))
        moves.append((y - source // width, x - source % width))
    return np.array(corners), np.array(moves)


def test_displacements_of_patches_are_distributed_as_published() -> None:
    corners, moves = places("noneccpatch", 60, 80, 4000)
    ends_half = np.r_[0.5, np.ones(15), 0.5] / 16  # of round(16 (v - 0.5))
    both_zero = ends_half[8] ** 2  # not observed
    for axis, side in enumerate((60, 80)):
        expected = ends_half.copy()
        expected[8] -= both_zero
        counts = np.bincount(moves[:, axis] + 8, minlength=17)
        assert scipy.stats.chisquare(counts, 4000 * expected / (1 - both_zero)).pvalue > 0.001
        starts = np.bincount(corners[:, axis] - moves[:, axis] - 16, minlength=side - 47)
        expected = np.r_[0.5, np.ones(side - 49), 0.5] / (side - 48)  # of round(u (side - 48))
        assert scipy.stats.chisquare(starts, 4000 * expected).pvalue > 0.001


def test_patches_on_short_sides_start_at_16() -> None:
    corners, moves = places("noneccpatch", 33, 47, 200)
    assert (corners - moves == 16).all()


def test_blocks_never_touch_the_last_row_and_column() -> None:
    corners, _ = places("colorblock", 50, 64, 2000)
    for axis, side in enumerate((50, 64)):
        counts = np.bincount(corners[:, axis])
        assert len(counts) == side - 32
        assert scipy.stats.chisquare(counts).pvalue > 0.001
    corners, _ = places("colorblock", 32, 20, 20)
    assert (corners == 0).all()


@pytest.mark.parametrize("quality", DISTORTIONS["jpeg"].levels)
def test_jpeg_equals_pillows_on_the_truncated_image(quality: int, tmp_path: object) -> None:
    image = photo(64, 64)
    pixels = (image * 255).byte().permute(1, 2, 0).numpy()
    Image.fromarray(pixels).save(f"{tmp_path}/a.jpg", quality=quality)
    expected = np.asarray(Image.open(f"{tmp_path}/a.jpg")) / 255
    output = DISTORTIONS["jpeg"](image, quality, GENERATOR).permute(1, 2, 0).numpy()
    np.testing.assert_allclose(output, expected, atol=1e-6)


@pytest.mark.parametrize("side", [31, 64, 127, 128, 300])
def test_jpeg2000_supports_small_images(side: int) -> None:
    image = photo(side, 150)
    errors = [(DISTORTIONS["jpeg2000"](image, level, GENERATOR) - image).abs().mean() for level in (16, 170)]
    assert 0 < errors[0] < errors[1]
