"""Degradation model (paper section 3.1): random compositions of 24 distortion types in 7 groups, with 5 levels each.

`DISTORTIONS` is the table of type names, groups, level values (mildest first) and functions.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from models.errors import UserError
from utils.distortions import (
    blur,
    brightness_change,
    color_distortion,
    jpeg,
    noise,
    sharpness_contrast,
    spatial_distortion,
)

LEVEL_SIGMA = 2.5


@dataclass(frozen=True)
class Distortion:
    """One distortion type. Call it to degrade an image.

    Attributes:
        name: name of the type, used in configurations and logs.
        group: group of the type; a composition contains at most one type per group.
        levels: the five level values, mildest first.
        function: (image, level value, generator) -> degraded image in new memory; its values may be outside [0, 1].
    """

    name: str
    group: str
    levels: tuple[float, ...]
    function: Callable[..., Tensor]

    def __call__(self, image: Tensor, level: float, generator: Generator, **options: float) -> Tensor:
        """Degrades an image and clips the result to [0, 1].

        Args:
            image: 3 x H x W, RGB, float32 or float64 in [0, 1], on any device. It is not modified.
            level: one of `levels`.
            generator: random generator, on the CPU or on the image's device.
            options: `angle` in degrees, for motionblur only.

        Returns:
            A new tensor with the image's shape, dtype and device.

        Raises:
            UserError: `level` is not one of `levels`.
            ValueError: the image has the wrong shape or dtype.
        """
        if image.ndim != 3 or image.shape[0] != 3 or image.numel() == 0:
            raise ValueError(f"expected an image of shape 3 x H x W, got {tuple(image.shape)}")
        if image.dtype not in (torch.float32, torch.float64):
            raise ValueError(f"expected a float32 or float64 image in [0, 1], got {image.dtype}")
        if level not in self.levels:
            raise UserError(f"{self.name}: unknown level {level}; allowed: {', '.join(map(str, self.levels))}")
        # Decoders return channels-last images; most operations are several times slower on these.
        return self.function(image.contiguous(), level, generator, **options).clamp_(0, 1)


DISTORTIONS: dict[str, Distortion] = {
    name: Distortion(name, group, levels, function)
    for name, group, levels, function in (
        ("gaublur", "blur", (0.1, 0.5, 1, 2, 5), blur.gaussian),
        ("lensblur", "blur", (1, 2, 4, 6, 8), blur.lens),
        ("motionblur", "blur", (1, 2, 4, 6, 10), blur.motion),
        ("colordiff", "color_distortion", (1, 3, 6, 8, 12), color_distortion.diffusion),
        ("colorshift", "color_distortion", (1, 3, 6, 8, 12), color_distortion.shift),
        ("colorsat1", "color_distortion", (0.4, 0.2, 0.1, 0, -0.4), color_distortion.saturation_hsv),
        ("colorsat2", "color_distortion", (1, 2, 3, 6, 9), color_distortion.saturation_lab),
        ("jpeg2000", "jpeg", (16, 32, 45, 120, 170), jpeg.jpeg2000),
        ("jpeg", "jpeg", (43, 36, 24, 7, 4), jpeg.jpeg),
        ("whitenoise", "noise", (0.001, 0.002, 0.003, 0.005, 0.01), noise.white),
        ("whitenoiseCC", "noise", (0.0001, 0.0005, 0.001, 0.002, 0.003), noise.white_ycbcr),
        ("impulsenoise", "noise", (0.001, 0.005, 0.01, 0.02, 0.03), noise.impulse),
        ("multnoise", "noise", (0.001, 0.005, 0.01, 0.02, 0.05), noise.multiplicative),
        ("brighten", "brightness_change", (0.1, 0.2, 0.4, 0.7, 1.1), brightness_change.brighten),
        ("darken", "brightness_change", (0.05, 0.1, 0.2, 0.4, 0.8), brightness_change.darken),
        ("meanshift", "brightness_change", (0, 0.08, -0.08, 0.15, -0.15), brightness_change.mean_shift),
        ("jitter", "spatial_distortion", (0.05, 0.1, 0.2, 0.5, 1), spatial_distortion.jitter),
        ("noneccpatch", "spatial_distortion", (20, 40, 60, 80, 100), spatial_distortion.displaced_patches),
        ("pixelate", "spatial_distortion", (0.01, 0.05, 0.1, 0.2, 0.5), spatial_distortion.pixelate),
        ("quantization", "spatial_distortion", (20, 16, 13, 10, 7), spatial_distortion.quantize),
        ("colorblock", "spatial_distortion", (2, 4, 6, 8, 10), spatial_distortion.color_blocks),
        ("highsharpen", "sharpness_contrast", (1, 2, 3, 6, 12), sharpness_contrast.high_sharpen),
        ("lincontrchange", "sharpness_contrast", (0, 0.15, -0.4, 0.3, -0.6), sharpness_contrast.contrast_curve),
        ("nonlincontrchange", "sharpness_contrast", (0.4, 0.3, 0.2, 0.1, 0.05), sharpness_contrast.contrast_line),
    )
}
GROUPS: tuple[str, ...] = tuple(dict.fromkeys(distortion.group for distortion in DISTORTIONS.values()))
NUM_LEVELS = 5
LEVEL_WEIGHTS = torch.exp(-(torch.arange(NUM_LEVELS) ** 2) / (2 * LEVEL_SIGMA**2))


def get_distortion(name: str) -> Distortion:
    """Returns the distortion type called `name`.

    Raises:
        UserError: the name is unknown; the message lists all names.
    """
    if name not in DISTORTIONS:
        raise UserError(f"unknown distortion type {name!r}; allowed: {', '.join(DISTORTIONS)}")
    return DISTORTIONS[name]


def get_group(group: str) -> list[Distortion]:
    """Returns the distortion types in `group`.

    Raises:
        UserError: the group is unknown; the message lists all groups.
    """
    if group not in GROUPS:
        raise UserError(f"unknown distortion group {group!r}; allowed: {', '.join(GROUPS)}")
    return [distortion for distortion in DISTORTIONS.values() if distortion.group == group]


def sample_composition(
    generator: Generator, max_distortions: int = 4, num_levels: int = NUM_LEVELS
) -> list[tuple[str, float]]:
    """Draws a random composition (paper section 3.1).

    The number of distortions n is uniform in 1..`max_distortions`. The n groups are distinct and in random order. Each
    group contributes one type, drawn uniformly. Each type gets a level l in 1..`num_levels` with probability
    proportional to exp(-(l - 1)^2 / (2 * 2.5^2)).

    Returns:
        (type name, level value) pairs in the order in which they are applied.

    Raises:
        UserError: `max_distortions` is not in 1..7, or `num_levels` is not in 1..5.
    """
    if not 1 <= max_distortions <= len(GROUPS):
        raise UserError(f"max_distortions: {max_distortions} is out of range; allowed: 1 to {len(GROUPS)}")
    if not 1 <= num_levels <= NUM_LEVELS:
        raise UserError(f"num_levels: {num_levels} is out of range; allowed: 1 to {NUM_LEVELS}")
    device = generator.device
    count = int(torch.randint(1, max_distortions + 1, (), generator=generator, device=device))
    chosen = torch.randperm(len(GROUPS), generator=generator, device=device)[:count].tolist()
    weights = LEVEL_WEIGHTS[:num_levels].to(device)
    levels = torch.multinomial(weights, count, replacement=True, generator=generator).tolist()
    composition = []
    for group, level in zip(chosen, levels, strict=True):
        types = get_group(GROUPS[group])
        distortion = types[int(torch.randint(len(types), (), generator=generator, device=device))]
        composition.append((distortion.name, distortion.levels[level]))
    return composition


def degrade(image: Tensor, composition: list[tuple[str, float]], generator: Generator) -> Tensor:
    """Applies the distortions of a composition in order and clips to [0, 1] after each.

    Args:
        image: 3 x H x W, RGB, float32 or float64 in [0, 1], on any device. It is not modified.
        composition: (type name, level value) pairs, as returned by `sample_composition`.
        generator: random generator for the distortions, on the CPU or on the image's device.

    Returns:
        The degraded image with the same shape, dtype and device, or `image` itself if the composition is empty.

    Raises:
        UserError: a type or level is unknown.
        ValueError: the image has the wrong shape or dtype.
    """
    for name, level in composition:
        image = get_distortion(name)(image, level, generator)
    return image
