"""Full-reference quality: the regressor sees how far an image's features are from those of its reference."""

import numpy as np
from numpy.typing import NDArray

from models.errors import UserError
from utils.evaluation.dataset import ScoredDataset
from utils.evaluation.features import check_images


def check_sizes(dataset: ScoredDataset, references: ScoredDataset, of_image: NDArray[np.int64]) -> None:
    """Checks that each image is as large as its reference, so that their crops show the same.

    Args:
        dataset: N images.
        references: the reference images.
        of_image: the row of each image's reference, (N,).

    Raises:
        UserError: one is not, or an image cannot be read.
    """
    sizes, reference_sizes = (check_images(images, range(len(images))) for images in (dataset, references))
    for image, (size, row) in enumerate(zip(sizes, of_image, strict=True)):
        if size != reference_sizes[row]:
            own, expected = ("{} x {}".format(*s) for s in (size, reference_sizes[row]))
            raise UserError(
                f"{dataset.images[image]} is {own} pixels, its reference {references.images[row]} {expected}; "
                "full reference needs equal sizes"
            )


def distances(
    features: NDArray[np.float32], references: NDArray[np.float32], of_image: NDArray[np.int64]
) -> NDArray[np.float32]:
    """|f(reference) - f(image)| of each crop.

    Args:
        features: of the images, (N, 5, 4096).
        references: of the reference images, (R, 5, 4096).
        of_image: the row of each image's reference, (N,).

    Returns:
        (N, 5, 4096), in memory.
    """
    result = references[of_image]
    result -= features
    return np.abs(result, out=result)
