"""Draws the images on which two models disagree: python -m utils.report.gmad A.csv B.csv.

A.csv and B.csv are files of `single_image_inference.py --output` over the same images. In each quantile of one model's
score it finds the pair with the largest difference in the other model's score, in both directions (gMAD, Ma et al.,
CVPR 2016).
"""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

from models.errors import UserError
from models.files import check_replaceable, write_text
from models.image_file import open_thumbnail
from utils.command import run_command
from utils.config.command_line import OneLineParser, integer, nonempty_path
from utils.evaluation.results import table_as_csv
from utils.evaluation.score_file import read_scores
from utils.report.figure_file import check_figure, save_figure
from utils.report.figures import LETTERS, shortened

TITLE = "ARNIQA gMAD"  # of the picture's file
THUMBNAIL = 320  # longest side of a picture, in pixels
KINDS = ("higher", "lower")


def competition(
    defender: NDArray[np.float64], attacker: NDArray[np.float64], quantiles: int
) -> list[NDArray[np.int64]]:
    """Finds the pairs with about equal scores of one model and the most different scores of the other.

    Args:
        defender: scores (N,) of the model whose score is divided into quantiles, of N / quantiles images each.
        attacker: scores (N,) of the other model.
        quantiles: how many.

    Returns:
        For each quantile, lowest first, the images with the highest and the lowest score of `attacker`.

    Raises:
        UserError: a quantile would have fewer than two images.
    """
    if len(defender) < 2 * quantiles:
        raise UserError(
            f"found {len(defender)} images with scores and --quantiles {quantiles}; a pair in each needs at most "
            f"{len(defender) // 2}"
        )
    parts = np.array_split(np.argsort(defender, kind="stable"), quantiles)
    return [part[np.argsort(attacker[part], kind="stable")][[-1, 0]] for part in parts]


def pairs_table(paths: tuple[Path, Path], quantiles: int) -> pd.DataFrame:
    """Returns the pairs of two score files, in both directions.

    Returns:
        A row per file and quantile (1 is the lowest). `equal_for` is the file whose quantile it is; `higher_*` and
        `lower_*` are the images with the highest and lowest score of the other file, with the scores of both files.

    Raises:
        UserError: a file is not a file of scores, they have scores of different images, or of too few.
    """
    scores = [{os.path.abspath(i): (i, s) for i, s in read_scores(path).items()} for path in paths]  # noqa: PTH100 - links stay
    for one, other in ((0, 1), (1, 0)):
        missing = sorted(scores[one].keys() - scores[other].keys())
        if missing:
            raise UserError(
                f"{paths[other]}: has no score of {scores[one][missing[0]][0]}, which {paths[one]} has; score the same "
                "images with both models"
            )
    images = sorted(scores[0])
    values = np.array([[of[image][1] for image in images] for of in scores])
    rows = []
    for defender, attacker in ((0, 1), (1, 0)):
        for number, pair in enumerate(competition(values[defender], values[attacker], quantiles), 1):
            row: dict[str, object] = {"equal_for": str(paths[defender]), "quantile": number}
            for kind, i in zip(KINDS, pair, strict=True):
                row[f"{kind}_image"] = scores[0][images[i]][0]
                row[f"{kind}_score"] = values[attacker, i]
                row[f"{kind}_score_equal_for"] = values[defender, i]
            rows.append(row)
    return pd.DataFrame(rows)


def draw(table: pd.DataFrame) -> Figure:
    """Draws the pairs as columns, the image with the higher score on top.

    Raises:
        UserError: an image cannot be read.
    """
    quantiles = int(table["quantile"].max())
    figure = Figure(figsize=(2.6 * quantiles + 0.4, 11), layout="constrained")
    halves: Any = figure.subfigures(2, 1)
    for half, pairs in zip(halves, (table.head(quantiles), table.tail(quantiles)), strict=True):
        model = shortened(pairs["equal_for"].iloc[0], LETTERS * quantiles)
        half.suptitle(f"about equal for\n{model},\nmost different for the other", fontsize=10, parse_math=False)
        axes = half.subplots(2, quantiles, squeeze=False)
        for column, pair in enumerate(pairs.to_dict("records")):
            for row, kind in zip(axes[:, column], KINDS, strict=True):
                row.imshow(open_thumbnail(pair[f"{kind}_image"], THUMBNAIL))
                row.set_axis_off()
                scores = f"{pair[f'{kind}_score_equal_for']:.3f}, other {pair[f'{kind}_score']:.3f}"
                name = shortened(Path(pair[f"{kind}_image"]).name)
                row.set_title(f"{name}\n{scores}", fontsize=8, parse_math=False)
    return figure


def main() -> None:
    parser = OneLineParser(prog="python -m utils.report.gmad", description=__doc__)
    add = parser.add_argument
    add("scores", nargs=2, type=nonempty_path, metavar="CSV", help="scores of the same images by two models")
    add("--quantiles", type=integer(1, 20), default=4, help="quantiles of each model's scores (%(default)s)")
    out = Path("gmad.png")
    add("--out", type=nonempty_path, default=out, help="path of the picture; a .csv file goes next to it (%(default)s)")
    arguments = parser.parse_args()
    written = arguments.out.with_suffix(".csv")
    check_figure("--out", arguments.out, TITLE)
    check_replaceable("--out", written, b"equal_for,quantile,")
    table = pairs_table(tuple(arguments.scores), arguments.quantiles)
    write_text(written, table_as_csv(table))
    print(written)
    save_figure(draw(table), arguments.out, TITLE, dpi=100)
    print(arguments.out)


if __name__ == "__main__":
    run_command(main)
