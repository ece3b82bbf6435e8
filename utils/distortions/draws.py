"""Random numbers for the distortions.

Values are drawn in float32 on the generator's device, then moved to the image's device and dtype. So a CPU generator
gives the same values for every device and dtype of the image.
"""

from torch import Generator, Tensor, rand, randint, randn


def normal(shape: tuple[int, ...], generator: Generator, like: Tensor) -> Tensor:
    """Draws standard normal values of the given shape, with the device and dtype of `like`."""
    return randn(shape, generator=generator, device=generator.device).to(like)


def uniform(shape: tuple[int, ...], generator: Generator, like: Tensor) -> Tensor:
    """Draws values uniform in [0, 1) of the given shape, with the device and dtype of `like`."""
    return rand(shape, generator=generator, device=generator.device).to(like)


def fractions(shape: tuple[int, int], generator: Generator) -> list[list[float]]:
    """Draws values uniform in [0, 1) of the given shape, as lists of Python numbers."""
    return rand(shape, generator=generator, device=generator.device).tolist()


def integers(low: int, high: int, count: int, generator: Generator) -> Tensor:
    """Draws `count` integers uniform in low..high (both included), on the generator's device."""
    return randint(low, high + 1, (count,), generator=generator, device=generator.device)
