"""Full-reference quality: the regressor's input is the distance of an image's features to those of its reference."""

import numpy as np
from numpy.typing import NDArray

from models.errors import UserError
from utils.evaluation.dataset import ScoredDataset
from utils.evaluation.features import check_images


def check_sizes(dataset: ScoredDataset, references: ScoredDataset, of_image: NDArray[np.int64]) -> None:
    """Checks that each image has the size of its reference, so that their crops show the same region.

    Args:
        dataset: dataset of N images.
        references: dataset of the reference images.
        of_image: (N,) row of each image's reference.

    Raises:
        UserError: an image has another size than its reference, or cannot be read.
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
    """Computes |f(reference) - f(image)| for each crop.

    Args:
        features: features of the images, (N, 5, 4096).
        references: features of the reference images, (R, 5, 4096).
        of_image: (N,) row of each image's reference.

    Returns:
        (N, 5, 4096) array in memory.
    """
    result = references[of_image]
    result -= features
    return np.abs(result, out=result)
