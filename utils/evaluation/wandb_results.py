"""A test's results in Weights & Biases."""

import sys
from collections.abc import Mapping
from typing import Any

from utils.evaluation.protocol import METRICS
from utils.evaluation.results import Results, summary_table
from utils.experiment.layout import Experiment
from utils.experiment.run_log import start_wandb
from utils.image import open_thumbnail

THUMBNAIL = 256  # longest side of a picture in a W&B table, in pixels


def log_test(experiment: Experiment, settings: Mapping[str, Any], results: Results) -> None:
    """Sends a test's tables, and its best and worst predictions with their images, to the experiment's W&B run."""
    run = start_wandb(experiment, settings)
    if run is None:
        return
    import wandb

    content: dict[str, Any] = {"test/summary": wandb.Table(dataframe=summary_table(results).astype(str))}
    for result in results.whole().values():
        content |= {f"test/{result.dataset}/{metric}": result.median(metric) for metric in METRICS}
        for kind, predictions in (("best", result.best()), ("worst", result.worst())):
            rows = [
                [wandb.Image(open_thumbnail(p.image, THUMBNAIL)), p.image, p.prediction, p.score] for p in predictions
            ]
            columns: list[str | int] = ["picture", "image", "prediction", "score"]
            content[f"test/{result.dataset}/{kind}"] = wandb.Table(columns=columns, data=rows)
    try:
        run.log(content)
        run.finish()
    except (wandb.errors.Error, OSError) as error:
        print(f"W&B did not take the test's results ({error}); they are in {experiment.folder}", file=sys.stderr)
