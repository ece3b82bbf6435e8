"""Pre-training of the encoder: the training loop and its validation (paper sections 3.2 and 4.1)."""

import math
import sys
import time
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader
from tqdm import tqdm

from data import get_dataset
from data.iqa_dataset import IQADataset
from data.training_loader import batch_sampler, training_loader, training_set
from models.errors import UserError
from models.experiment import FEATURES, Experiment
from models.files import check_writable
from models.frozen import frozen
from models.image_file import open_image
from models.resnet import ResNet
from models.simclr import initial_model, parallel_model
from models.weights import encoder_hash, load_encoder
from utils.config.keys import Config
from utils.evaluation.features import cached_features, check_images, forget_features, truncated_note
from utils.evaluation.manifold import manifold_embeddings, to_draw
from utils.evaluation.protocol import check_split_sizes, evaluate, mean_over_datasets
from utils.evaluation.wandb_results import named_scores
from utils.experiment.checkpoint import TrainState, check_finite, replace_checkpoint, save_checkpoint
from utils.experiment.resume import begin_run, check_same_splits, resume_hint, take_up
from utils.experiment.run_log import RunLog, wandb_settings
from utils.optimization import build_optimizer, build_scheduler
from utils.regression import RidgePath
from utils.report.pictures import draw_manifold
from utils.runtime.beside import Beside
from utils.runtime.device import with_float64
from utils.runtime.distributed import (
    any_rank,
    barrier,
    check_same,
    from_main,
    is_lost_process,
    is_main,
    on_main,
    share_buffers,
    shared_failure,
    world_size,
)
from utils.runtime.precision import autocast, check_precision, products
from utils.runtime.progress import progress_bar
from utils.runtime.signals import Stopped, StopRequest, stop_on_signal
from utils.runtime.transfer import Transfer
from utils.runtime.workers import WorkerDied, batches

READ_LOSSES = 10  # steps between two reads of the losses; each read waits for the device
UNREADABLE_LIMIT = 0.01  # largest share of training images that may be unreadable


def train(config: Config, device: torch.device) -> None:
    """Trains the encoder as the configuration says, from the beginning or from the experiment's last checkpoint.

    Leaves in `experiments/<experiment_name>/`: config.yaml, metrics.csv, pretrain/best_epoch_*.pth (weights) and
    pretrain/last_epoch_*.pth (all that resuming needs).

    Raises:
        UserError: a folder, file or value is not as it must be, the loss is not finite, or too many images cannot be
            read.
        WeightsError: the ImageNet weights are requested but cannot be downloaded.
        Stopped: SIGTERM or Ctrl-C was received and the state is saved.
    """
    with ExitStack() as locks:
        saved = on_main(lambda: take_up(config, locks))  # the other processes may not see its disk
        trainer = Trainer(config, device, saved)
        try:
            with stop_on_signal(trainer.stop):
                trainer.run()
        except BaseException:
            trainer.close(exit_code=1)
            raise
        trainer.close(exit_code=0)
        barrier()


class Trainer:
    """A training run: data, model, and the loop over epochs and steps."""

    def __init__(self, config: Config, device: torch.device, saved: Mapping[str, Any] | None) -> None:
        self.config, self.device = config, device
        self.experiment = Experiment.named(config.experiment_name)
        self.stop = StopRequest()
        with shared_failure():
            self.wandb = wandb_settings(config)
        self.truncated: set[str] = set()  # what was said about truncated images
        self.dataset = training_set(config)
        self.sampler = batch_sampler(self.dataset, config)
        self.steps = self.sampler.steps_per_epoch
        check_same(f"images in {self.dataset.folder}", self.dataset.fingerprint)
        self.validation_sets = [
            get_dataset(name, config.data_base_path, config.test.crop_size, config.test.shorter_side)
            for name in config.validation.datasets
        ]
        for dataset in self.validation_sets:  # now, and not after the first epoch
            with shared_failure():
                check_images(dataset, range(len(dataset)))
        with shared_failure():
            for dataset in self.validation_sets:
                check_split_sizes(dataset, ("train", "val"), config.validation.num_splits)
            self.splits = {d.name: (d.splits_kind, d.splits_hash) for d in self.validation_sets}
            if saved is not None:
                check_same_splits(config.experiment_name, saved["splits"], self.splits)
            if is_main() and self.validation_sets:
                check_writable(FEATURES)
        for dataset in self.validation_sets:
            check_same(f"annotation of {dataset.name}", dataset.annotation_hash)
            check_same(f"splits of {dataset.name}", dataset.splits_hash)
        model = initial_model(config.seed, asdict(config.model.encoder), config.model.temperature)
        model.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        optimizer = build_optimizer(model, lr=config.training.lr, **asdict(config.training.optimizer))
        scheduler = build_scheduler(optimizer, **asdict(config.training.lr_scheduler))
        self.precision = training_precision(config.training.precision, device)
        check_precision("test.precision", config.test.precision, device)
        scaler = torch.amp.GradScaler(device.type, enabled=self.precision == "float16")
        self.state = TrainState(model, optimizer, scheduler, scaler)
        if saved is not None:
            self.state.restore(saved, saved["file"])
        self.model = model
        self.parallel = parallel_model(model, device, config.training.compile)
        self.transfer = Transfer(device)
        self.before: list[Tensor] = []  # the buffers before the present step, with several processes
        self.drawing: Beside[dict[str, Path]] | None = None
        self.log = self._begin() if is_main() else None

    def close(self, exit_code: int) -> None:
        if self.drawing is not None:
            self.drawing.stop()
            for path in self.experiment.unfinished_files():
                path.unlink(missing_ok=True)
        if self.log is not None:
            self.log.close(exit_code)

    def run(self) -> None:
        """Every epoch: train, save, validate, save."""
        state = self.state
        workers = self.config.training.num_workers
        loader = training_loader(self.dataset, self.sampler, workers, pin_memory=self.device.type == "cuda")
        while True:
            if state.step < self.steps:
                self._train_epoch(loader)
            if not state.validated and (state.epoch + 1) % self.config.validation.frequency == 0:
                self._validate()
            if state.epoch + 1 >= self.config.training.epochs:
                break
            state.epoch, state.step, state.validated = state.epoch + 1, 0, False
        if state.best is None:  # no epoch was validated: keep the last one
            self._save_best(None)
        try:
            with self.stop.at_once():
                self._finish_drawing(state.epoch * self.steps + state.step + 1, wait=True)
        except KeyboardInterrupt:
            raise self._stopped() from None

    def _train_epoch(self, loader: DataLoader) -> None:
        """The rest of an epoch, from `state.step` on. The loader draws, crops and degrades the images."""
        state, every = self.state, self.config.training.checkpoint_frequency
        self.parallel.train()
        self.sampler.set_position(state.epoch, state.step)
        pending: list[dict[str, Any]] = []  # steps whose loss is still on the device
        since = time.perf_counter()
        title = f"epoch {state.epoch + 1}/{self.config.training.epochs}"
        with progress_bar(title, self.steps, state.step, "step") as bar:
            try:
                for batch in batches(loader):
                    pending.append(self._train_step(batch))
                    bar.update()
                    due = every > 0 and state.step % every == 0
                    stop_now = bool(self.stop) and world_size() == 1  # several processes agree on it below
                    if not (due or stop_now or state.step % READ_LOSSES == 0 or state.step == self.steps):
                        continue
                    self._log_losses(pending, since, bar)
                    pending, since = [], time.perf_counter()
                    stopping = any_rank(bool(self.stop), self.device)
                    if due or stopping or state.step == self.steps:
                        self._save_last(None)
                    if stopping:
                        raise self._stopped()
            except WorkerDied as error:
                raise self._ended_by(f"{error}", pending, since, bar) from error
            except RuntimeError as error:
                if not is_lost_process(error):
                    raise
                for buffer, before in zip(self.model.buffers(), self.before, strict=False):
                    buffer.copy_(before)  # the step that did not end had counted in the batch-norm statistics
                raise self._ended_by("another process of this training ended", pending, since, bar) from None
        if state.unreadable and is_main():
            print(f"epoch {state.epoch}: {len(state.unreadable)} of {len(self.dataset)} training images are unreadable")

    def _ended_by(self, reason: str, pending: list[dict[str, Any]], since: float, bar: tqdm) -> UserError:
        """Saves the state after the last whole step, on the first process; returns the error that says so."""
        if is_main():
            if pending:
                self._log_losses(pending, since, bar)
            self._save_last(None)
        return UserError(
            f"{reason}; {'the state is saved' if is_main() else 'the first process saves the state'}: resume with "
            f"{resume_hint(self.config)}, and with fewer training.num_workers if memory ran out"
        )

    def _train_step(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """Two views, loss, update. Returns what is to be logged of the step, with the loss still on the device."""
        state = self.state
        views = [batch["view_a"], batch["view_b"]]
        if not self.config.training.data.half_scale:
            views = [view[: len(view) // 2] for view in views]
        view_a, view_b = self.transfer(views)
        self.before = [buffer.clone() for buffer in self.model.buffers()] if world_size() > 1 else []
        learning_rate = state.optimizer.param_groups[0]["lr"]
        loss = training_step(self.parallel, state.optimizer, state.scaler, view_a, view_b, self.precision)
        if state.scheduler is not None:
            state.scheduler.step(state.epoch + state.step / self.steps)
        state.step += 1
        self.before = []
        done = state.epoch * self.steps + state.step
        self._note_truncated(message for sample in batch["truncated"] for message in sample)
        self._note_unreadable(batch["unreadable"])
        every = self.config.training.log_images_frequency
        if self.log is not None and every > 0 and (state.step - 1) % every == 0:
            self.log.input_images(done, batch)
        return {"step": done, "loss": loss, "learning_rate": learning_rate, "compositions": batch["composition"]}

    def _validate(self) -> None:
        """Scores the encoder on the validation sets, keeps it if it is the best so far, and saves the state."""
        if not self.validation_sets:
            return
        share_buffers(self.model)  # the checkpoint has those of the first process
        encoder, identity = frozen(self.model.encoder), from_main(encoder_hash(self.model.encoder))
        try:
            with self.stop.at_once():  # the training is saved, and a validation that is cut short is repeated
                scores = {d.name: self._validate_on(d, encoder, identity) for d in self.validation_sets}
        except KeyboardInterrupt:
            raise self._stopped() from None
        mean = mean_over_datasets(scores)
        epoch = self.state.epoch
        if self.log is not None:
            row: dict[str, Any] = {"step": (epoch + 1) * self.steps, "epoch": epoch, **mean}
            for name, score in scores.items():
                row |= {f"{name}_{metric}": value for metric, value in score.items()}
            synthetic = [dataset.name for dataset in self.validation_sets if dataset.synthetic]
            self.log.validation(row, named_scores("val", scores, synthetic))
            each = ", ".join(
                f"{d.name} {scores[d.name]['srocc']:.3f}/{scores[d.name]['plcc']:.3f} on {d.splits_kind} splits"
                for d in self.validation_sets
            )
            print(f"epoch {epoch}: validation SROCC/PLCC {mean['srocc']:.3f}/{mean['plcc']:.3f} ({each})")
        outdated: str | None
        outdated, kept = identity, self._best_encoder()  # the test uses the best encoder's features
        if self.state.best is None or mean["srocc"] > self.state.best["srocc"]:
            self.state.best = {"epoch": epoch, **mean}
            self._save_best(mean)
            outdated, kept = kept, identity
        if is_main() and outdated and outdated != kept:
            forget_features(FEATURES, outdated)
        self.state.validated = True
        self._save_last(mean)

    def _validate_on(self, dataset: IQADataset, encoder: ResNet, identity: str) -> dict[str, float]:
        """Median SROCC and PLCC over a dataset's validation splits, at the fixed `validation.alpha` (no search)."""
        test, validation = self.config.test, self.config.validation
        features, truncated = cached_features(
            encoder,
            dataset,
            test.batch_size,
            test.num_workers,
            self.device,
            cache_dir=FEATURES,
            encoder_hash=identity,
            precision=test.precision,
        )
        if is_main():
            self._note_truncated(f"{dataset.name}: {note}" for note in truncated_note(dataset, truncated))
        path = None if features is None else RidgePath(features, dataset.mos, with_float64(self.device))
        result = evaluate(path, dataset, "val", validation.num_splits, [validation.alpha])
        if features is not None and validation.visualize and dataset.name == to_draw(validation.datasets):
            self._draw_manifold(manifold_embeddings(features, dataset), dataset)
        return {"srocc": result.srocc, "plcc": result.plcc}

    def _draw_manifold(self, embeddings: NDArray[np.float32], dataset: IQADataset) -> None:
        """Starts to draw the manifold into the experiment's folder, beside the training: it may take half a minute.

        The end of the next epoch waits for it.
        """
        if is_main() and len(embeddings):
            settings, title = self.config.validation.visualization, f"Epoch {self.state.epoch}"
            arguments = (embeddings, dataset, settings, self.config.seed, self.experiment, title)
            self.drawing = Beside(draw_manifold, *arguments)

    def _finish_drawing(self, step: int, wait: bool) -> None:
        """Sends the pictures to W&B, if the drawing has ended or is waited for.

        Args:
            step: the first one whose loss is not sent yet. So two validations' pictures never get the same step, where
                W&B would keep one of them.
            wait: for the drawing.
        """
        if self.drawing is None or not (wait or self.drawing.ended()):
            return
        pictures, self.drawing = self.drawing.result(), None
        if pictures and self.log is not None:
            for name, path in pictures.items():
                self.log.images(step, name, [open_image(path)], [path.stem])

    def _log_losses(self, pending: list[dict[str, Any]], since: float, bar: tqdm) -> None:
        """Reads the losses of the steps since that time from the device, checks that they are finite, logs them."""
        rate = len(pending) * self.config.training.batch_size / (time.perf_counter() - since)
        losses = torch.stack([row["loss"] for row in pending]).tolist()
        for row, loss in zip(pending, losses, strict=True):
            if not math.isfinite(loss):
                path = self.experiment.not_finite(row["step"])
                if is_main():
                    state = {"model_state_dict": self.model.state_dict(), "compositions": row["compositions"]}
                    save_checkpoint(state, path)
                raise UserError(
                    f"the loss is {loss} at step {row['step']}, learning rate {row['learning_rate']:.3g}; the state "
                    f"and that batch's compositions are in {path}; the last good checkpoint is untouched"
                )
        bar.set_postfix(loss=f"{losses[-1]:.3f}", refresh=False)
        self._finish_drawing(pending[0]["step"], wait=self.state.step == self.steps and not self.stop)
        if self.log is not None:
            common = {"epoch": self.state.epoch, "images_per_second": round(rate, 2)}
            self.log.steps(
                [
                    {"step": row["step"], "loss": loss, "learning_rate": row["learning_rate"], **common}
                    for row, loss in zip(pending, losses, strict=True)
                ]
            )

    def _note_unreadable(self, messages: list[list[str]]) -> None:
        """Reports each unreadable image once, and ends the run if there are too many."""
        noted, limit = self.state.unreadable, UNREADABLE_LIMIT * len(self.dataset)
        for message in sorted({m for sample in messages for m in sample} - set(noted)):
            noted.append(message)
            print(f"replaced in training: {message}", file=sys.stderr)
            if len(noted) > limit:
                raise UserError(
                    f"{self.dataset.folder}: {len(noted)} of {len(self.dataset)} images cannot be read, "
                    f"more than {UNREADABLE_LIMIT:.0%}; the last one: {message}"
                )

    def _note_truncated(self, messages: Iterable[str]) -> None:
        """Reports each truncated image, and the truncated images of a validation set, once."""
        for message in dict.fromkeys(messages):
            if message not in self.truncated:
                self.truncated.add(message)
                print(message, file=sys.stderr)

    def _save_last(self, scores: Mapping[str, float] | None) -> None:
        """Saves all that resuming needs; `scores` are those of the epoch's validation, once it is done."""
        content = self.state.save() | {"config": self.config.to_dict(), "splits": self.splits}
        check_finite(content, f"after step {self.state.step} of epoch {self.state.epoch}")
        if is_main():
            path = self.experiment.last_checkpoint(self.state.epoch, self.state.step, scores)
            replace_checkpoint(content, path, self.experiment.last_checkpoints())

    def _best_encoder(self) -> str | None:
        """Hash of the best encoder so far; None if there is none, or on another process than the first."""
        best = self.experiment.best_checkpoints() if is_main() else []
        return encoder_hash(load_encoder(best[-1])) if best else None

    def _save_best(self, scores: Mapping[str, float] | None) -> None:
        """Saves the weights in the place of the best ones so far."""
        if is_main():
            path = self.experiment.best_checkpoint(self.state.epoch, scores)
            weights = self.model.state_dict()  # not copied to a plain dict, which would lose its metadata
            for name, value in weights.items():
                weights[name] = value.contiguous()
            replace_checkpoint(weights, path, self.experiment.best_checkpoints())

    def _begin(self) -> RunLog:
        """Writes what was given into the experiment's folder, and opens the log."""
        begin_run(self.config, self.splits)
        columns = ["loss", "learning_rate", "images_per_second", "srocc", "plcc"]
        columns += [f"{d.name}_{metric}" for d in self.validation_sets for metric in ("srocc", "plcc")]
        done = self.state.epoch * self.steps + self.state.step
        validated = self.state.validated or self.state.step == 0  # at step 0 the epoch before is done with
        batch_size = self.config.training.batch_size
        return RunLog(self.experiment, columns, done, validated, batch_size, self.wandb)

    def _stopped(self) -> Stopped:
        where = f"epoch {self.state.epoch}, step {self.state.step} of {self.steps}"
        number = self.stop.signal or 15
        return Stopped(number, f"stopped at {where}, the state is saved; resume with {resume_hint(self.config)}")


def training_precision(precision: str, device: torch.device) -> str:
    """The precision for a value of `training.precision` on that device.

    Raises:
        UserError: the device does not have it.
    """
    if precision != "auto":
        check_precision("training.precision", precision, device)
        return precision
    chosen = "float16" if device.type == "cuda" else "float32"
    if is_main():
        print(f"training in {chosen} (training.precision: auto)")
    return chosen


def training_step(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    view_a: Tensor,
    view_b: Tensor,
    precision: str,
) -> Tensor:
    """One update from two views (N x 3 x H x W each, channels-last); returns the loss, still on the device.

    The loss itself and the update are computed in float32 at every precision.
    """
    with products(precision):
        with autocast(precision, view_a.device):
            loss = model(view_a, view_b)
        optimizer.zero_grad(set_to_none=True)
        scaler.scale(loss).backward()
    scaler.step(optimizer)
    scaler.update()
    return loss.detach()
