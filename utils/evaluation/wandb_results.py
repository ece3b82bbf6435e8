"""Logs scores and test results to Weights & Biases, under the names of the published code."""

import sys
from collections.abc import Collection, Mapping
from typing import Any

from models.experiment import Experiment
from models.image_file import open_thumbnail
from utils.evaluation.protocol import EXTREMES, averages
from utils.evaluation.results import Results, summary_table
from utils.experiment.wandb_run import start_wandb

AVERAGES = {"synthetic": "synthetic_avg", "authentic": "authentic_avg", "all": "avg"}
COLUMNS: list[str | int] = ["Image", "Predicted", "GT", "Difference", "Path"]
THUMBNAIL = 256  # longest side of a picture in a W&B table, in pixels


def named_scores(phase: str, scores: Mapping[str, Mapping[str, float]], synthetic: Collection[str]) -> dict[str, float]:
    """Maps {dataset: {metric: value}} to {"<phase>_<metric>_<dataset>": value}, including averages over datasets.

    Args:
        phase: "val" or "test".
        scores: dataset -> metric -> value.
        synthetic: names of the synthetic datasets.
    """
    named = {**scores, **{AVERAGES[group]: mean for group, mean in averages(scores, synthetic).items()}}
    return {f"{phase}_{metric}_{name}": value for name, figures in named.items() for metric, value in figures.items()}


def log_test(experiment: Experiment, settings: Mapping[str, Any], results: Results, batch_size: int) -> None:
    """Logs a test's tables, and its best and worst predictions with their images, to the experiment's W&B run.

    They are logged after the last training step. That step is read from metrics.csv, because W&B starts at 0 in an
    offline run that continues another.

    Args:
        experiment: tested experiment.
        settings: arguments of `wandb.init`.
        results: results of the test.
        batch_size: images in a training step.
    """
    run = start_wandb(experiment, settings)
    if run is None:
        return
    import wandb

    whole = results.whole()
    scores = {name: {m: r.median(m) for m in ("srocc", "plcc", "krocc")} for name, r in whole.items()}
    summary = {f"test_alpha_{name}": result.alpha for name, result in whole.items()}
    if whole:
        summary |= named_scores("test", scores, [name for name, result in whole.items() if result.synthetic])
    content: dict[str, Any] = {"test_summary": wandb.Table(dataframe=summary_table(results).astype(str))}
    for result in whole.values():
        by_error = result.by_error()
        for kind, predictions in (("best", by_error[:EXTREMES]), ("worst", by_error[::-1][:EXTREMES])):
            rows = []
            for p in predictions:
                picture = wandb.Image(open_thumbnail(p.image, THUMBNAIL))
                rows.append([picture, p.prediction, p.score, p.prediction - p.score, p.image])
            content[f"test_{result.dataset}_{kind}_results"] = wandb.Table(columns=COLUMNS, data=rows)
    try:
        run.log(content, step=max(run.step, _last_step(experiment) * batch_size + 1))
        run.summary.update(summary)
        run.finish()
    except (wandb.errors.Error, OSError) as error:
        print(f"W&B did not accept the test's results ({error}); they are in {experiment.folder}", file=sys.stderr)


def _last_step(experiment: Experiment) -> int:
    """Returns the last training step in an experiment's metrics.csv; 0 without the file."""
    if not experiment.metrics.exists():
        return 0
    steps = [line.partition(b",")[0] for line in experiment.metrics.read_bytes().splitlines()]
    return max((int(step) for step in steps if step.isdigit()), default=0)
