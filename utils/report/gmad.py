"""Draws the images that two models disagree about: python -m utils.report.gmad A.csv B.csv.

A.csv and B.csv are files of `single_image_inference.py --output` over the same images. In each quantile of one model's
score it finds the pair that the other model rates farthest apart, in both directions (gMAD, Ma et al., CVPR 2016).
"""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from models.errors import UserError
from models.files import check_replaceable, write_text
from models.image_file import open_thumbnail
from utils.command import run_command
from utils.config.command_line import OneLineParser, integer, nonempty_path
from utils.evaluation.gmad import competition
from utils.evaluation.score_file import read_scores, without_formula
from utils.report.figure_file import check_figure, save_figure
from utils.report.figures import LETTERS, shortened

TITLE = "ARNIQA gMAD"  # of the picture's file
THUMBNAIL = 320  # longest side of a picture, in pixels


def pairs_table(paths: tuple[Path, Path], quantiles: int) -> pd.DataFrame:
    """The pairs of two files of scores, in both directions.

    Returns:
        A row per file and quantile (1 is the lowest): `equal_for` is the file whose quantile it is, `higher_*` and
        `lower_*` are the images that the other file rates highest and lowest there, with the scores of both files.

    Raises:
        UserError: a file is no file of scores, they have scores of different images, or of too few.
    """
    first, second = scores = [read_scores(path) for path in paths]
    names = [{os.path.abspath(image): image for image in of} for of in scores]  # noqa: PTH100 - links stay
    for one, other in ((0, 1), (1, 0)):
        missing = sorted(names[one].keys() - names[other].keys())
        if missing:
            raise UserError(
                f"{paths[other]}: has no score of {names[one][missing[0]]}, which {paths[one]} has; score the same "
                "images with both models"
            )
    order = sorted(names[0])
    images = [names[0][path] for path in order]
    values = [np.array([of[name[path]] for path in order]) for of, name in zip((first, second), names, strict=True)]
    rows = []
    for defender, attacker in ((0, 1), (1, 0)):
        for number, pair in enumerate(competition(values[defender], values[attacker], quantiles), 1):
            row: dict[str, object] = {"equal_for": str(paths[defender]), "quantile": number}
            for kind, i in zip(("higher", "lower"), pair, strict=True):
                row[f"{kind}_image"] = images[i]
                row[f"{kind}_score"] = values[attacker][i]
                row[f"{kind}_score_equal_for"] = values[defender][i]
            rows.append(row)
    return pd.DataFrame(rows)


def draw(table: pd.DataFrame) -> Figure:
    """The pairs as columns: above the image that is rated higher, below the one that is rated lower.

    Raises:
        UserError: an image cannot be read.
    """
    quantiles = int(table["quantile"].max())
    figure = Figure(figsize=(2.6 * quantiles + 0.4, 11), layout="constrained")
    halves: Any = figure.subfigures(2, 1)
    for half, pairs in zip(halves, (table.head(quantiles), table.tail(quantiles)), strict=True):
        name = pairs["equal_for"].iloc[0]
        title = f"about equal for\n{shortened(name, LETTERS * quantiles)},\nmost different for the other"
        half.suptitle(title, fontsize=10, parse_math=False)
        axes = half.subplots(2, quantiles, squeeze=False)
        for column, pair in enumerate(pairs.to_dict("records")):
            for row, kind in enumerate(("higher", "lower")):
                axes[row, column].imshow(open_thumbnail(pair[f"{kind}_image"], THUMBNAIL))
                axes[row, column].set_axis_off()
                axes[row, column].set_title(
                    f"{shortened(Path(pair[f'{kind}_image']).name)}\n{pair[f'{kind}_score_equal_for']:.3f}, "
                    f"other {pair[f'{kind}_score']:.3f}",
                    fontsize=8,
                    parse_math=False,
                )
    return figure


def main() -> None:
    parser = OneLineParser(prog="python -m utils.report.gmad", description=__doc__)
    parser.add_argument(
        "scores", nargs=2, type=nonempty_path, metavar="CSV", help="scores of the same images by two models"
    )
    parser.add_argument("--quantiles", type=integer(1, 20), default=4, help="of each model's scores (%(default)s)")
    parser.add_argument(
        "--out",
        type=nonempty_path,
        default=Path("gmad.png"),
        help="file of the picture; a table goes beside it (%(default)s)",
    )
    arguments = parser.parse_args()
    written = arguments.out.with_suffix(".csv")
    check_figure("--out", arguments.out, TITLE)
    check_replaceable("--out", written, b"equal_for,quantile,")
    table = pairs_table(tuple(arguments.scores), arguments.quantiles)
    names = table.select_dtypes("object").columns
    safe = {column: [without_formula(name) for name in table[column]] for column in names}
    write_text(written, table.assign(**safe).to_csv(index=False, lineterminator="\n"))
    print(written)
    figure = draw(table)
    save_figure(figure, arguments.out, TITLE, dpi=100)
    print(arguments.out)


if __name__ == "__main__":
    run_command(main)
