"""Random draws of a distortion: made on the generator's device in float32, then moved to the image's.

So the draws of a CPU generator are the same whatever the image's device and dtype are.
"""

from torch import Generator, Tensor, rand, randint, randn


def normal(shape: tuple[int, ...], generator: Generator, like: Tensor) -> Tensor:
    """Standard normal values of that shape, on the device and in the dtype of `like`."""
    return randn(shape, generator=generator, device=generator.device).to(like)


def uniform(shape: tuple[int, ...], generator: Generator, like: Tensor) -> Tensor:
    """Values uniform in [0, 1), on the device and in the dtype of `like`."""
    return rand(shape, generator=generator, device=generator.device).to(like)


def integers(low: int, high: int, count: int, generator: Generator) -> Tensor:
    """`count` integers uniform in low..high, both ends included, on the generator's device."""
    return randint(low, high + 1, (count,), generator=generator, device=generator.device)
