"""Where a run's figures go: always to metrics.csv, and to Weights & Biases when the configuration says so."""

import csv
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from utils.config import Config
from utils.errors import UserError
from utils.evaluation import METRICS
from utils.image import open_thumbnail
from utils.results import Results, summary_table

THUMBNAIL = 256  # longest side of a picture in a W&B table, in pixels


class RunLog:
    """The scalars and images of one run.

    `metrics.csv` has one row per training step (`loss`, `learning_rate`, `images_per_second`) and one per validation
    (SROCC and PLCC of every dataset and their means). `step` counts finished training steps over all epochs, `epoch`
    counts from zero.

    Args:
        folder: the experiment's folder.
        columns: columns of metrics.csv after step and epoch.
        step: last step to keep of an earlier part of this run; rows after it are dropped, to be made again.
        validated: whether the validation after that step is finished too.
        wandb_settings: arguments of `wandb.init`, or None to do without. W&B that fails to start is reported in one
            line and the run goes on without it.
    """

    def __init__(
        self,
        folder: Path,
        columns: Sequence[str],
        step: int = 0,
        validated: bool = False,
        wandb_settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.path = folder / "metrics.csv"
        self.columns = ["step", "epoch", *columns]
        self._rows = _rows_until(self.path, step, validated)
        self._write("w", self._rows)
        self._wandb = _start_wandb(folder, wandb_settings) if wandb_settings is not None else None

    def scalars(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Appends rows; each has `step`, `epoch` and any of the columns."""
        self._write("a", rows)
        for row in rows:
            self._to_wandb({k: v for k, v in row.items() if k != "step"}, row["step"])

    def images(self, step: int, name: str, images: Sequence[Any], captions: Sequence[str]) -> None:
        """Sends images (PIL) with captions to W&B; nothing without it."""
        if self._wandb is not None:
            import wandb

            self._to_wandb({name: [wandb.Image(i, caption=c) for i, c in zip(images, captions, strict=True)]}, step)

    def close(self) -> None:
        if self._wandb is not None:
            self._wandb.finish()

    def _write(self, mode: str, rows: Sequence[Mapping[str, Any]]) -> None:
        path = self.path.with_suffix(".csv.partial") if mode == "w" else self.path
        try:
            with path.open(mode, newline="", encoding="utf-8") as file:
                writer = csv.DictWriter(file, self.columns)
                if mode == "w":
                    writer.writeheader()
                writer.writerows(rows)
            if mode == "w":
                path.replace(self.path)
        except OSError as error:
            raise UserError(f"{self.path}: cannot be written ({error})") from error

    def _to_wandb(self, content: Mapping[str, Any], step: int) -> None:
        if self._wandb is None:
            return
        import wandb

        try:
            self._wandb.log(dict(content), step=step)
        except (wandb.errors.Error, OSError) as error:
            print(f"W&B stopped taking data ({error}); the run goes on without it", file=sys.stderr)
            self._wandb = None


def _rows_until(path: Path, step: int, validated: bool) -> list[dict[str, str]]:
    """Rows of an earlier part of the run that its checkpoint covers."""
    if not path.exists() or step == 0:
        return []
    complete = [line for line in path.read_text(encoding="utf-8").splitlines(keepends=True) if line.endswith("\n")]
    return [
        row
        for row in csv.DictReader(complete)
        if int(row["step"]) < step or (int(row["step"]) == step and (validated or row["loss"]))
    ]


def wandb_settings(config: Config) -> dict[str, Any] | None:
    """Arguments of `wandb.init` for a run of that configuration, or None where it does without W&B."""
    if not config.logging.use_wandb:
        return None
    where = config.logging.wandb
    return {
        "project": where.project,
        "entity": where.entity,
        "name": config.experiment_name,
        "mode": "online" if where.online else "offline",
        "config": config.to_dict(),
    }


def log_test(folder: Path, settings: Mapping[str, Any], results: Results) -> None:
    """Sends a test's tables, and its best and worst predictions with their images, to the W&B run of that folder."""
    run = _start_wandb(folder, settings)
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
        print(f"W&B did not take the test's results ({error}); they are in {folder}", file=sys.stderr)


def _start_wandb(folder: Path, settings: Mapping[str, Any]) -> Any:
    """The W&B run of an experiment's folder: a new one, or the one whose identity an earlier part noted there."""
    import wandb

    note = folder / "wandb_id.txt"
    try:
        run_id = note.read_text(encoding="utf-8").strip() if note.exists() else None
        run = wandb.init(dir=str(folder), id=run_id, resume="allow", **settings)
        note.write_text(run.id + "\n", encoding="utf-8")
        return run
    except (wandb.errors.Error, OSError) as error:
        print(f"W&B did not start ({error}); the run goes on without it", file=sys.stderr)
        return None
