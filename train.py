"""Training loop for the encoder (paper sections 3.2 and 4.1)."""

import signal
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn

from data import get_dataset
from data.training_loader import ImageReport, batch_sampler, training_loader, training_set
from models.errors import UserError
from models.experiment import FEATURES, Experiment
from models.simclr import initial_model, parallel_model
from utils.config.keys import Config
from utils.evaluation.features import forget_features
from utils.evaluation.protocol import mean_over_datasets
from utils.evaluation.validation import Validation, check_validation, validate
from utils.evaluation.wandb_results import named_scores
from utils.experiment.checkpoint import TrainState, check_finite, save_checkpoint
from utils.experiment.resume import begin_run, check_same_splits, load_resume_state, resume_hint
from utils.experiment.run_log import RunLog, input_pictures
from utils.experiment.wandb_run import wandb_settings
from utils.optimization import build_optimizer, build_scheduler
from utils.report.manifold_drawing import ManifoldDrawing
from utils.runtime.device import autocast, check_precision, tf32_allowed
from utils.runtime.distributed import (
    any_rank,
    barrier,
    check_same,
    is_rank0,
    progress_bar,
    raise_on_all_ranks,
    run_on_rank0,
    world_size,
)
from utils.runtime.signals import Stopped, StopRequest, stop_on_signal
from utils.runtime.transfer import Transfer
from utils.runtime.workers import WorkerDied, batches

READ_LOSSES = 10  # steps between two reads of the losses; each read waits for the device


def train(config: Config, device: torch.device) -> None:
    """Trains the encoder from the beginning, or resumes from the experiment's last checkpoint.

    Writes to `experiments/<experiment_name>/`: config.yaml, metrics.csv, pretrain/best_epoch_*.pth (weights) and
    pretrain/last_epoch_*.pth (the state needed to resume).

    Raises:
        UserError: a folder, file or value is invalid, the loss is not finite, too many images cannot be read, or a
            data-loading worker died.
        WeightsError: the ImageNet weights are requested but cannot be downloaded.
        Stopped: SIGTERM or Ctrl-C was received, and the state is saved.
    """
    with ExitStack() as locks:
        saved = run_on_rank0(lambda: load_resume_state(config, locks))  # other machines may not see rank 0's disk
        trainer = Trainer(config, device, saved)
        with stop_on_signal(trainer.stop):
            trainer.open_log()
            try:
                trainer.run()
            except BaseException as error:
                trainer.close(exit_code=1)
                if isinstance(error, WorkerDied):
                    raise UserError(f"{error}; resume with {resume_hint(config)}") from error
                raise
            trainer.close(exit_code=0)
        barrier()


class Trainer:
    """A training run: data, state and loop."""

    def __init__(self, config: Config, device: torch.device, saved: Mapping[str, Any] | None) -> None:
        self.config, self.device = config, device
        self.experiment = Experiment.named(config.experiment_name)
        self.stop = StopRequest()
        with raise_on_all_ranks():
            self.wandb = wandb_settings(config)
            self.dataset = training_set(config)
            self.sampler = batch_sampler(self.dataset, config)
            self.validation_sets = [
                get_dataset(name, config.data_base_path, config.test.crop_size, config.test.shorter_side)
                for name in config.validation.datasets
            ]
        check_same(f"images in {self.dataset.folder}", self.dataset.fingerprint)
        check_validation(self.validation_sets, config, device)
        self.splits = {d.name: (d.splits_kind, d.splits_hash) for d in self.validation_sets}
        self.steps = self.sampler.steps_per_epoch
        self.precision = training_precision(config.training.precision, device)
        self.state = initial_state(config, device, self.precision)
        if saved is not None:
            check_same_splits(config.experiment_name, saved["splits"], self.splits)
            self.state.restore(saved, saved["file"], self.steps)
        self.model = parallel_model(self.state.model, device, config.training.compile)
        self.transfer = Transfer(device)
        self.image_report = ImageReport(self.dataset, self.state.unreadable)
        self.drawing = ManifoldDrawing(self.experiment, interactive=self.wandb is not None)

    def open_log(self) -> None:
        """Writes the configuration and the environment to the experiment's folder, and opens the log."""
        with raise_on_all_ranks():
            if is_rank0():
                begin_run(self.config, self.splits)
            state, columns = self.state, ["loss", "learning_rate", "images_per_second", "srocc", "plcc"]
            columns += [f"{d.name}_{metric}" for d in self.validation_sets for metric in ("srocc", "plcc")]
            done, batch_size = state.epoch * self.steps + state.step, self.config.training.batch_size
            self.log = RunLog(self.experiment, columns, done, state.validated, batch_size, self.wandb)

    def run(self) -> None:
        """Runs the training loop from the current state to the last epoch."""
        training, state, log = self.config.training, self.state, self.log
        self.sampler.set_position(state.epoch, state.step)
        loader = training_loader(self.dataset, self.sampler, training.num_workers, self.device.type == "cuda")
        loaded = batches(loader)  # of all epochs, so that the workers prefetch across them
        for epoch in range(state.epoch, training.epochs):
            self.model.train()
            log.start_clock()
            with progress_bar(f"epoch {epoch + 1}/{training.epochs}", self.steps, state.step, "step") as bar:
                for batch in islice(loaded, self.steps - state.step):
                    self.image_report.report(batch)
                    frequency = training.log_images_frequency
                    if log.sends_media and frequency > 0 and state.step % frequency == 0:
                        log.add_media(input_pictures(batch))
                    learning_rate = state.learning_rate
                    view_a, view_b = self.transfer(views(batch, training.data.half_scale))
                    loss = training_step(self.model, state.optimizer, state.scaler, view_a, view_b, self.precision)
                    state.advance(self.steps)
                    done = epoch * self.steps + state.step
                    rates = {"learning_rate": learning_rate, "lr": state.learning_rate}
                    log.add_step({"step": done, "epoch": epoch, **rates}, loss)
                    bar.update()
                    end = state.step == self.steps
                    due = end or (training.checkpoint_frequency > 0 and state.step % training.checkpoint_frequency == 0)
                    stop_now = bool(self.stop) and world_size() == 1  # several ranks agree below
                    if not (due or stop_now or state.step % READ_LOSSES == 0):
                        continue
                    log.add_media(self.drawing.figures(wait=False))
                    bar.set_postfix(loss=f"{log.flush():.3f}", refresh=False)
                    stopping = any_rank(bool(self.stop), self.device)
                    if due or stopping:
                        self.save_last()
                    if stopping:
                        raise self.stopped()
            if not state.validated and (epoch + 1) % self.config.validation.frequency == 0:
                self.validate()
            state.epoch, state.step, state.validated = epoch + 1, 0, False
        if state.best is None:  # no epoch was validated: keep the last one
            self.save_best(state.epoch - 1)
        with self.interruptible():
            log.add_media(self.drawing.figures(wait=True))

    def validate(self) -> None:
        """Scores the encoder on the validation sets, keeps it if it is the best so far, and saves the state."""
        state, epoch = self.state, self.state.epoch
        with self.interruptible():  # an interrupted validation is repeated
            result = validate(state.model.encoder, self.validation_sets, self.config, self.device)
            self.log.add_media(self.drawing.figures(wait=True))
        mean = self.log_validation(result)
        if result.drawn is not None:
            dataset, embeddings = result.drawn
            settings = self.config.validation.visualization
            self.drawing.start(embeddings, dataset, settings, self.config.seed, f"Epoch {epoch}")
        outdated: str | None = result.encoder_hash  # the test uses the best encoder's features
        if state.best is None or mean["srocc"] > state.best["srocc"]:
            outdated = state.best["encoder_hash"] if state.best else None
            state.best = {"epoch": epoch, **mean, "encoder_hash": result.encoder_hash}
            self.save_best(epoch, mean)
        if is_rank0() and outdated:
            forget_features(FEATURES, outdated)
        state.validated = True
        self.save_last(mean)

    def log_validation(self, result: Validation) -> dict[str, float]:
        """Logs and prints the scores of the validation sets; returns their means."""
        epoch, scores, mean = self.state.epoch, result.scores, mean_over_datasets(result.scores)
        row: dict[str, Any] = {"step": (epoch + 1) * self.steps, "epoch": epoch, **mean}
        for name, score in scores.items():
            row |= {f"{name}_{metric}": value for metric, value in score.items()}
        self.log.write_validation(
            row, named_scores("val", scores, [d.name for d in self.validation_sets if d.synthetic])
        )
        if is_rank0():
            each = ", ".join(
                f"{d.name} {scores[d.name]['srocc']:.3f}/{scores[d.name]['plcc']:.3f} on {d.splits_kind} splits"
                for d in self.validation_sets
            )
            print(f"epoch {epoch}: validation SROCC/PLCC {mean['srocc']:.3f}/{mean['plcc']:.3f} ({each})")
        return mean

    def save_last(self, scores: Mapping[str, float] | None = None) -> None:
        """Saves the state needed to resume; `scores` are the validation scores of the epoch, if it was validated."""
        state = self.state
        content = state.save() | {"config": self.config.to_dict(), "splits": self.splits}
        check_finite(content, f"after step {state.step} of epoch {state.epoch}")
        if is_rank0():
            path = self.experiment.last_checkpoint(state.epoch, state.step, scores)
            save_checkpoint(content, path, self.experiment.last_checkpoints())

    def save_best(self, epoch: int, scores: Mapping[str, float] | None = None) -> None:
        """Saves the weights as the best ones so far."""
        if is_rank0():
            weights = self.state.model.state_dict()  # not copied to a plain dict, which would lose its metadata
            for name, value in weights.items():
                weights[name] = value.contiguous()
            path = self.experiment.best_checkpoint(epoch, scores)
            save_checkpoint(weights, path, self.experiment.best_checkpoints())

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """Context in which a stop request takes effect at once; the state must have been saved before."""
        try:
            with self.stop.at_once():
                yield
        except KeyboardInterrupt:
            raise self.stopped() from None

    def stopped(self) -> Stopped:
        """Returns the exception that ends the run after a stop request."""
        state, done = self.state, self.state.epoch == self.config.training.epochs
        where = "the end of the last epoch" if done else f"epoch {state.epoch}, step {state.step} of {self.steps}"
        number = self.stop.signal or signal.SIGTERM
        return Stopped(number, f"stopped at {where}, the state is saved; resume with {resume_hint(self.config)}")

    def close(self, exit_code: int) -> None:
        self.drawing.stop()
        self.log.close(exit_code)


def initial_state(config: Config, device: torch.device, precision: str) -> TrainState:
    """Returns the state before the first step, on the device. It depends only on the configuration."""
    model = initial_model(config.seed, asdict(config.model.encoder), config.model.temperature)
    model.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = build_optimizer(model, lr=config.training.lr, **asdict(config.training.optimizer))
    scheduler = build_scheduler(optimizer, **asdict(config.training.lr_scheduler))
    return TrainState(model, optimizer, scheduler, torch.amp.GradScaler(device.type, enabled=precision == "float16"))


def views(batch: Mapping[str, Any], half_scale: bool) -> list[Tensor]:
    """Returns the two views of a batch: full-scale crops, then half-scale crops if `half_scale` is set."""
    both = [batch["view_a"], batch["view_b"]]
    return both if half_scale else [view[: len(view) // 2] for view in both]


def training_precision(precision: str, device: torch.device) -> str:
    """Resolves a value of `training.precision` to the precision on this device.

    Raises:
        UserError: the device does not support the precision.
    """
    if precision != "auto":
        check_precision("training.precision", precision, device)
        return precision
    chosen = "float16" if device.type == "cuda" else "float32"
    if is_rank0():
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
    """Updates the model on two views (N x 3 x H x W each, channels-last); returns the loss, still on the device.

    The loss itself and the update are computed in float32 at every precision.
    """
    with tf32_allowed(precision):
        with autocast(precision, view_a.device):
            loss = model(view_a, view_b)
        optimizer.zero_grad(set_to_none=True)
        scaler.scale(loss).backward()
    scaler.step(optimizer)
    scaler.update()
    return loss.detach()
