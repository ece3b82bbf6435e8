"""Where a run's figures go: always to metrics.csv, and to Weights & Biases if the configuration says so."""

import csv
import io
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torchvision.transforms.functional import to_pil_image

from models.errors import UserError
from models.experiment import Experiment
from models.files import check_regular, write_text
from models.preprocess import denormalize
from utils.config.keys import Config
from utils.runtime.distributed import is_main
from utils.runtime.files import GrowingFile

WANDB_MODES = {"online": "online", "run": "online", "offline": "offline", "dryrun": "offline", "disabled": "disabled"}
PUBLISHED = {"learning_rate": "lr"}  # columns of metrics.csv that have another name in W&B


class RunLog:
    """The scalars and images of one run.

    `metrics.csv` has one row per training step (`loss`, `learning_rate`, `images_per_second`) and one per validation
    (SROCC and PLCC of every dataset and their means). `step` counts finished training steps over all epochs, `epoch`
    counts from zero. W&B gets the same under the names of the published code, over the number of images seen.

    Args:
        experiment: whose log it is.
        columns: columns of metrics.csv after step and epoch.
        step: last step to keep of an earlier part of this run; later rows are dropped, because they will be made again.
        validated: whether the validation after that step is finished too.
        batch_size: images in a step.
        wandb_settings: arguments of `wandb.init`, or None to do without. If W&B fails to start, one line says so and
            the run goes on without it.

    Raises:
        UserError: metrics.csv cannot be written, or another process is writing to it.
    """

    def __init__(
        self,
        experiment: Experiment,
        columns: Sequence[str],
        step: int = 0,
        validated: bool = False,
        batch_size: int = 1,
        wandb_settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.columns = ["step", "epoch", *columns]
        self.batch_size = batch_size
        self._file = GrowingFile(experiment.metrics)
        try:
            header = _as_csv(self.columns, [dict(zip(self.columns, self.columns, strict=True))])
            kept, last = _covered(experiment.metrics, header, step, validated)
            if last < step:
                print(
                    f"{experiment.metrics}: has no row of step {step}; the log continues after that step",
                    file=sys.stderr,
                )
            self._file.truncate(kept)
            if kept == 0:
                self._file.append(header)
        except BaseException:
            self._file.close()
            raise
        self._images: dict[int, dict[str, Any]] = {}  # of steps whose scalars are not sent yet
        self._wandb = start_wandb(experiment, wandb_settings) if wandb_settings is not None else None

    def steps(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Appends training steps; each row has `step`, `epoch` and any of the columns."""
        self._append(rows)
        for row in rows:
            self._send_images(row["step"] - 1)
            self._to_wandb({PUBLISHED.get(k, k): v for k, v in row.items() if k != "step"}, row["step"])
            self._send_images(row["step"])

    def validation(self, row: Mapping[str, Any], published: Mapping[str, float]) -> None:
        """Appends a validation: `row` has `step`, `epoch` and any of the columns, `published` is what W&B gets."""
        self._append([row])
        self._to_wandb(published, row["step"])

    def images(self, step: int, name: str, images: Sequence[Any], captions: Sequence[str]) -> None:
        """Sends images (PIL) with captions to W&B; does nothing without it.

        They are sent with the scalars of that step, because W&B drops what arrives after a larger step.
        """
        if self._wandb is not None:
            import wandb

            content = [wandb.Image(i, caption=c) for i, c in zip(images, captions, strict=True)]
            self._images.setdefault(step, {})[name] = content

    def input_images(self, step: int, batch: Mapping[str, Any]) -> None:
        """Sends a training batch (see `data.kadis700.collate`): a picture per pair, of A at full and half scale and B
        at full and half scale, with the composition that degraded them."""
        crops = torch.cat([view for name in "ab" for view in batch[f"view_{name}"].chunk(2)], dim=3)
        images = [to_pil_image(denormalize(four)) for four in crops]
        captions = [
            f"{a}, {b}: " + (", ".join(f"{kind} {level:g}" for kind, level in composition) or "pristine")
            for a, b, composition in zip(batch["img_A_name"], batch["img_B_name"], batch["composition"], strict=True)
        ]
        self.images(step, "input", images, captions)

    def close(self, exit_code: int = 0) -> None:
        """Ends the log; W&B shows a run whose exit code is not 0 as failed."""
        self._send_images(max(self._images, default=0))
        self._file.close()
        if self._wandb is not None:
            self._wandb.finish(exit_code=exit_code)

    def _send_images(self, until: int) -> None:
        """Sends the images of all steps up to that one."""
        for step in sorted(step for step in self._images if step <= until):
            self._to_wandb(self._images.pop(step), step)

    def _append(self, rows: Sequence[Mapping[str, Any]]) -> None:
        self._file.append(_as_csv(self.columns, rows))

    def _to_wandb(self, content: Mapping[str, Any], step: int) -> None:
        if self._wandb is None:
            return
        import wandb

        try:
            self._wandb.log(dict(content), step=step * self.batch_size)
        except (wandb.errors.Error, OSError) as error:
            print(f"W&B stopped taking data ({error}); the run goes on without it", file=sys.stderr)
            self._wandb = None


def _as_csv(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> bytes:
    text = io.StringIO(newline="")
    csv.DictWriter(text, columns).writerows(rows)
    return text.getvalue().encode("utf-8")


def _covered(path: Path, header: bytes, step: int, validated: bool) -> tuple[int, int]:
    """Bytes of the header and of the rows that the run's checkpoint covers, and the step of the last of these rows.

    Both are 0 for a new run. What follows a row that cannot be read, after a power cut say, does not count.
    """
    if step == 0:
        return 0, 0
    try:
        lines = path.read_bytes().splitlines(keepends=True)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error})") from error
    if not lines or lines[0] != header:
        return 0, 0
    size, last = len(header), 0
    for line in lines[1:]:
        try:
            row = next(csv.DictReader([header.decode(), line.decode()]))
            of = int(row["step"])
        except (ValueError, TypeError, StopIteration, csv.Error):
            break
        if not line.endswith(b"\n") or of > step or (of == step and not (validated or row["loss"])):
            break
        size, last = size + len(line), of
    return size, last


def wandb_settings(config: Config) -> dict[str, Any] | None:
    """Arguments of `wandb.init` for a run of that configuration, or None if it does without W&B.

    The environment variable WANDB_MODE restricts what the configuration allows: "offline" or "disabled" win over
    `logging.wandb.online`, and "online" does not bring a run to the servers that the configuration keeps off them.

    Raises:
        UserError: WANDB_MODE has another value.
    """
    where = config.logging.wandb
    if not config.logging.use_wandb:
        return None
    if not os.environ.get("WANDB_MODE"):
        os.environ.pop("WANDB_MODE", None)  # W&B does not take an empty value for an absent one
    asked = os.environ.get("WANDB_MODE", "online")
    if asked not in WANDB_MODES:
        raise UserError(f"WANDB_MODE: found {asked!r}; allowed: {', '.join(WANDB_MODES)}")
    mode = WANDB_MODES[asked]
    if mode == "disabled":
        if is_main():
            print("W&B is off, because WANDB_MODE is disabled")
        return None
    online = where.online and mode == "online"
    if online and where.project is None:
        if is_main():
            print("W&B is off, because logging.wandb.project is not set")
        return None
    return {
        "project": where.project,
        "entity": where.entity,
        "name": config.experiment_name,
        "mode": "online" if online else "offline",
        "config": config.to_dict(),
    }


def start_wandb(experiment: Experiment, settings: Mapping[str, Any]) -> Any:
    """The W&B run of an experiment: a new one, or the one whose identity was noted in its folder earlier.

    Returns:
        None if W&B does not start; one line says why.
    """
    import wandb

    note = experiment.wandb_id
    check_regular(note)
    try:
        run_id = note.read_text(encoding="utf-8").strip() if note.exists() else None
        run = wandb.init(dir=str(experiment.folder.resolve()), id=run_id, resume="allow", **settings)
        write_text(note, run.id + "\n")
        return run
    except (wandb.errors.Error, OSError, UserError) as error:
        print(f"W&B did not start ({error}); the run goes on without it", file=sys.stderr)
        return None
