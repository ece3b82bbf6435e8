"""The log of a training run: metrics.csv, and Weights & Biases if it is configured."""

import csv
import io
import math
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.functional import to_pil_image

from models.errors import UserError
from models.experiment import Experiment
from models.preprocess import denormalize
from utils.experiment.wandb_run import start_wandb
from utils.runtime.distributed import is_rank0
from utils.runtime.files import GrowingFile

ONLY_IN_FILE = ("step", "learning_rate")  # columns of metrics.csv that are not logged to W&B
Pictures = list[tuple[Image.Image, str]]  # pictures and their captions
Media = Mapping[str, Any]  # name in W&B -> `Pictures` or a Plotly figure


class RunLog:
    """Logs the scalars and pictures of one run to metrics.csv and W&B.

    `metrics.csv` has one row per training step (`loss`, `learning_rate`, `images_per_second`) and one per validation
    (SROCC and PLCC of every dataset and their means). `step` counts finished training steps over all epochs, `epoch`
    counts from zero. W&B gets the same values under the names of the published code. Its x-axis is the number of images
    seen before the step; a validation is logged one image before the next step. Only rank 0 writes; the other ranks
    check their losses.

    Args:
        experiment: experiment with the folder for the log.
        columns: columns of metrics.csv after step and epoch.
        step: last step to keep from an earlier part of this run; later rows are dropped, because they are repeated.
        validated: whether the validation after this step is finished too.
        batch_size: images in a step.
        wandb_settings: arguments of `wandb.init`, or None for no W&B. If W&B fails to start, the reason is printed and
            the run continues without it.

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
        self._pending: list[tuple[dict[str, Any], Tensor, Media]] = []  # rows, losses on the device, media
        self._media: Media = {}  # for the next row
        self._last_step = step
        self._position = -1  # the last one in W&B
        self.start_clock()
        self._file = self._open(experiment.metrics, step, validated) if is_rank0() else None
        self._wandb = start_wandb(experiment, wandb_settings) if is_rank0() and wandb_settings is not None else None

    @property
    def sends_media(self) -> bool:
        return self._wandb is not None

    def start_clock(self) -> None:
        """Starts the clock of `images_per_second`; `flush` restarts it."""
        self._since = time.perf_counter()

    def add_media(self, media: Media) -> None:
        """Adds pictures and figures to log to W&B with the next row."""
        self._media = {**self._media, **media}

    def add_step(self, row: Mapping[str, Any], loss: Tensor) -> None:
        """Adds a training step: its `step`, `epoch` and `learning_rate`, and its loss on the device.

        `flush` reads the loss. W&B gets `lr` in `row`, the rate after the scheduler's step, instead of `learning_rate`.
        """
        self._pending.append((dict(row), loss, self._media))
        self._media = {}

    def flush(self) -> float:
        """Reads the losses of all added steps from the device and writes the rows. Returns the last loss.

        Raises:
            UserError: a loss is not finite.
        """
        losses = torch.stack([loss for _, loss, _ in self._pending]).tolist()  # waits for the device
        rate = len(losses) * self.batch_size / (time.perf_counter() - self._since)
        rows = [{**row, "loss": loss} for (row, _, _), loss in zip(self._pending, losses, strict=True)]
        for row in rows:
            if not math.isfinite(row["loss"]):
                raise UserError(
                    f"the loss is {row['loss']} at step {row['step']}, learning rate {row['learning_rate']:.3g}; "
                    "resume from the last checkpoint if there is one, or start again with a smaller training.lr"
                )
            row["images_per_second"] = round(rate, 2)
        self._write(rows)
        for row, (_, _, media) in zip(rows, self._pending, strict=True):
            values = {name: value for name, value in row.items() if name not in ONLY_IN_FILE}
            # Uncommitted data is lost in a kill. With one image per step, the validation shares the last step's row.
            self._send(values, (row["step"] - 1) * self.batch_size, media, commit=self.batch_size > 1)
        self._pending = []
        self.start_clock()
        return losses[-1]

    def write_validation(self, row: Mapping[str, Any], published: Mapping[str, float]) -> None:
        """Writes a validation: `row` (`step`, `epoch`, any columns) to metrics.csv and `published` to W&B."""
        self._write([row])
        self._send(published, self._before_next_step(), self._media)
        self._media = {}

    def close(self, exit_code: int = 0) -> None:
        """Closes the log; W&B marks a run with an exit code other than 0 as failed."""
        if self._media:
            self._send({}, max(self._before_next_step(), self._position + 1), self._media)
        if self._file is not None:
            self._file.close()
        if self._wandb is not None:
            self._wandb.finish(exit_code=exit_code)

    def _open(self, path: Path, step: int, validated: bool) -> GrowingFile:
        file = GrowingFile(path)
        try:
            header = self._as_csv([dict(zip(self.columns, self.columns, strict=True))])
            kept, last = _rows_until(path, header, step, validated)
            if last < step:
                print(f"{path}: has no row of step {step}; the log continues after that step", file=sys.stderr)
            file.truncate(kept)
            if kept == 0:
                file.append(header)
        except BaseException:
            file.close()
            raise
        return file

    def _before_next_step(self) -> int:
        """Last W&B position before the next step's. W&B drops a step at a position that was already logged."""
        return max(0, self._last_step * self.batch_size - 1)

    def _write(self, rows: Sequence[Mapping[str, Any]]) -> None:
        self._last_step = rows[-1]["step"]
        if self._file is not None:
            self._file.append(self._as_csv(rows))

    def _send(self, values: Mapping[str, Any], images_seen: int, media: Media, commit: bool = True) -> None:
        if self._wandb is None:
            return
        self._position = images_seen
        import wandb

        try:
            sent = {
                name: [wandb.Image(image, caption=c) for image, c in item] if isinstance(item, list) else item
                for name, item in media.items()
            }
            self._wandb.log({**values, **sent}, step=images_seen, commit=commit)
        except (wandb.errors.Error, OSError) as error:
            print(f"W&B does not accept data any more ({error}); the run continues without it", file=sys.stderr)
            self._wandb = None

    def _as_csv(self, rows: Sequence[Mapping[str, Any]]) -> bytes:
        text = io.StringIO(newline="")
        csv.DictWriter(text, self.columns, extrasaction="ignore").writerows(rows)
        return text.getvalue().encode("utf-8")


def input_pictures(batch: Mapping[str, Any]) -> dict[str, Pictures]:
    """Returns the pictures of a training batch (see `collate_samples`): one per pair, captioned with its composition.

    A picture shows A at full and half scale, then B at full and half scale.
    """
    crops = torch.cat([view for name in "ab" for view in batch[f"view_{name}"].chunk(2)], dim=3)
    pictures = []
    for four, a, b, composition in zip(
        crops, batch["img_A_name"], batch["img_B_name"], batch["composition"], strict=True
    ):
        distortions = ", ".join(f"{kind} {level:g}" for kind, level in composition) or "pristine"
        pictures.append((to_pil_image(denormalize(four)), f"{a}, {b}: {distortions}"))
    return {"input": pictures}


def _rows_until(path: Path, header: bytes, step: int, validated: bool) -> tuple[int, int]:
    """Returns the size in bytes of the header and the rows up to a checkpoint's step, and the step of the last row.

    Both are 0 for a new run. Rows after an unreadable row (after a power failure, for example) are ignored.
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
            number = int(row["step"])
        except (ValueError, TypeError, StopIteration, csv.Error):
            break
        if not line.endswith(b"\n") or number > step or (number == step and not (validated or row["loss"])):
            break
        size, last = size + len(line), number
    return size, last
