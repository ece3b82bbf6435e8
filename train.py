"""Pre-training of the encoder: the training loop and its validation (paper sections 3.2 and 4.1)."""

import sys
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader
from torchvision.transforms.functional import to_pil_image
from tqdm import tqdm

from data import KADIS700Dataset, get_dataset
from data.iqa_dataset import IQADataset
from data.kadis700 import collate
from data.sampler import TrainingBatchSampler
from models.errors import WeightsError
from models.simclr import SimCLR, initial_model
from utils.checkpoint import BEST, LAST, replace_checkpoint, save_atomic, validated_name
from utils.config import Config
from utils.distributed import any_rank, barrier, is_main, rank, world_size
from utils.errors import UserError
from utils.evaluation import evaluate, mean_over_datasets
from utils.experiment import experiment_folder, make_experiment, previous_state, resume_hint
from utils.features import extract_features
from utils.image import denormalize, open_image
from utils.logging import RunLog, wandb_settings
from utils.manifold import to_draw
from utils.signals import StopRequest, stop_on_signal
from utils.visualization import draw_manifold
from utils.workers import WorkerDied, batches, leave_stopping_to_parent

READ_LOSSES = 10  # steps between two reads of the losses from the device, for which the host must wait
UNREADABLE_LIMIT = 0.01  # share of the training images that may be unreadable


class Stopped(Exception):
    """The run was asked to stop and has saved its state; `signal_number` is the signal that asked."""

    def __init__(self, signal_number: int, message: str) -> None:
        super().__init__(message)
        self.signal_number = signal_number


def train(config: Config, device: torch.device) -> None:
    """Trains the encoder as the configuration says, from the beginning or from the experiment's last checkpoint.

    Leaves in `experiments/<experiment_name>/`: config.yaml, metrics.csv, pretrain/best_epoch_*.pth (weights) and
    pretrain/last_epoch_*.pth (all that resuming needs).

    Raises:
        UserError: a folder, file or value is not as it must be, the loss is not finite, or too many images cannot be
            read.
        Stopped: SIGTERM or Ctrl-C was received and the state is saved.
    """
    state = previous_state(config)
    barrier()  # all have looked for the folder before the first process makes it
    trainer = Trainer(config, device, state)
    with stop_on_signal(trainer.stop):
        trainer.run()
    barrier()


class Trainer:
    """A training run: its model, data and position."""

    def __init__(self, config: Config, device: torch.device, state: Mapping[str, Any] | None) -> None:
        self.config = config
        self.device = device
        self.pretrain = experiment_folder(config.experiment_name) / "pretrain"
        self.dataset = training_set(config)
        self.validation_sets = [
            get_dataset(name, config.data_base_path, config.test.crop_size) for name in config.validation.datasets
        ]
        self.sampler = batch_sampler(self.dataset, config)
        self.steps = self.sampler.steps_per_epoch
        self.stop = StopRequest()
        self.model = build_model(config)
        self.model.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimizer = build_optimizer(self.model, config)
        self.scheduler = build_scheduler(self.optimizer, config)
        self.scaler = torch.amp.GradScaler(device.type, enabled=device.type == "cuda")
        # `step` steps of `epoch` are done, and `validated` tells whether that epoch's validation is done too.
        self.epoch, self.step, self.validated = 0, 0, False
        self.best: dict[str, float] | None = None
        self.unreadable: set[str] = set()
        if state is not None:
            self._restore(state)
        self.parallel = parallel_model(self.model, config, device)
        self.log: RunLog | None = None
        if is_main():
            make_experiment(config)
            columns = ["loss", "learning_rate", "images_per_second", "srocc", "plcc"]
            columns += [f"{d.name}_{score}" for d in self.validation_sets for score in ("srocc", "plcc")]
            done = self.epoch * self.steps + self.step
            validated = self.validated or self.step == 0  # at step 0 all before is, where it was due
            self.log = RunLog(self.pretrain.parent, columns, done, validated, wandb_settings(config))

    def run(self) -> None:
        """Every epoch: train, save, validate, save."""
        loader = training_loader(self.dataset, self.sampler, self.config, self.device)
        while True:
            if self.step < self.steps:
                self._train_epoch(loader)
            if not self.validated and (self.epoch + 1) % self.config.validation.frequency == 0:
                self._validate()
            if self.epoch + 1 >= self.config.training.epochs:
                break
            self.epoch, self.step, self.validated = self.epoch + 1, 0, False
        if self.best is None:  # no epoch was validated: the last one is all there is
            self._save_best(f"best_epoch_{self.epoch}_not_validated.pth")
        if self.log is not None:
            self.log.close()

    def _train_epoch(self, loader: DataLoader) -> None:
        """The rest of an epoch, from `step` on."""
        frequency = self.config.training.checkpoint_frequency
        self.parallel.train()
        self.sampler.set_position(self.epoch, self.step)
        pending: list[dict[str, Any]] = []  # steps whose loss is still on the device
        since = time.perf_counter()
        with progress_bar(self.epoch, self.config.training.epochs, self.steps, self.step) as bar:
            try:
                for batch in batches(loader):
                    pending.append(self._train_step(batch))
                    bar.update()
                    due = frequency > 0 and self.step % frequency == 0
                    stop_now = bool(self.stop) and world_size() == 1  # several processes agree on it further down
                    if not (due or stop_now or self.step % READ_LOSSES == 0 or self.step == self.steps):
                        continue
                    self._read_losses(pending, since, bar)
                    pending, since = [], time.perf_counter()
                    stopping = any_rank(bool(self.stop), self.device)
                    if due or stopping or self.step == self.steps:
                        self._checkpoint(f"last_epoch_{self.epoch}_step_{self.step}.pth")
                    if stopping:
                        raise self._stopped()
            except WorkerDied as error:
                if pending:
                    self._read_losses(pending, since, bar)
                self._checkpoint(f"last_epoch_{self.epoch}_step_{self.step}.pth")
                raise UserError(
                    f"{error}; the state is saved: go on with {resume_hint(self.config)}, with fewer "
                    "training.num_workers if memory ran out"
                ) from error
        if self.unreadable and is_main():
            print(f"epoch {self.epoch}: {len(self.unreadable)} of {len(self.dataset)} training images cannot be read")

    def _train_step(self, batch: Mapping[str, Any]) -> dict[str, Any]:
        """One step; returns what is to be logged of it, with the loss still on the device."""
        view_a = torch.cat([batch["img_A_orig"], batch["img_A_ds"]])
        view_b = torch.cat([batch["img_B_orig"], batch["img_B_ds"]])
        learning_rate = self.optimizer.param_groups[0]["lr"]
        loss = training_step(self.parallel, self.optimizer, self.scaler, view_a, view_b, self.device)
        if self.scheduler is not None:
            self.scheduler.step(self.epoch + self.step / self.steps)
        self.step += 1
        done = self.epoch * self.steps + self.step
        self._count_unreadable(batch["unreadable"])
        frequency = self.config.training.log_images_frequency
        if self.log is not None and frequency > 0 and done % frequency == 0:
            log_input_images(self.log, done, batch)
        return {"step": done, "loss": loss, "learning_rate": learning_rate, "compositions": batch["composition"]}

    def _validate(self) -> None:
        """Scores the encoder on the validation sets, keeps it if it is the best so far, and saves the state."""
        if not self.validation_sets:
            return
        try:
            with self.stop.at_once():  # the state is saved, and what is interrupted here is made again
                scores = {}
                for d in self.validation_sets:
                    features = extract_features(
                        self.model.encoder, d, self.config.test.batch_size, self.config.test.num_workers, self.device
                    )
                    scores[d.name] = validate(features, d, self.config, self.device)
                    if self.config.validation.visualize and d.name == to_draw(self.config.validation.datasets):
                        self._draw_manifold(features, d)
        except KeyboardInterrupt:
            raise self._stopped() from None
        mean = mean_over_datasets(scores)
        if self.log is not None:
            row: dict[str, Any] = {"step": (self.epoch + 1) * self.steps, "epoch": self.epoch, **mean}
            for name, score in scores.items():
                row |= {f"{name}_{key}": value for key, value in score.items()}
            self.log.scalars([row])
            each = ", ".join(f"{n} {s['srocc']:.3f}/{s['plcc']:.3f}" for n, s in scores.items())
            print(f"epoch {self.epoch}: validation SROCC/PLCC {mean['srocc']:.3f}/{mean['plcc']:.3f} ({each})")
        if self.best is None or mean["srocc"] > self.best["srocc"]:
            self.best = {"epoch": self.epoch, **mean}
            self._save_best(validated_name("best", self.epoch, mean["srocc"], mean["plcc"]))
        self.validated = True
        self._checkpoint(validated_name("last", self.epoch, mean["srocc"], mean["plcc"]))

    def _draw_manifold(self, features: NDArray[np.float32], dataset: IQADataset) -> None:
        """Leaves the manifold in the experiment's folder, and sends its pictures to W&B."""
        if self.log is None:
            return
        settings, folder = self.config.validation.visualization, self.pretrain.parent
        pictures = draw_manifold(features, dataset, settings, self.config.seed, folder, f"Epoch {self.epoch}")
        step = (self.epoch + 1) * self.steps
        if pictures:
            self.log.images(step, "manifold", [open_image(path) for path in pictures], [path.stem for path in pictures])

    def _read_losses(self, pending: list[dict[str, Any]], since: float, bar: tqdm) -> None:
        """Fetches the losses of the steps since that time from the device, checks and logs them."""
        images_per_second = len(pending) * self.config.training.batch_size / (time.perf_counter() - since)
        losses = torch.stack([row["loss"] for row in pending]).tolist()
        for row, loss in zip(pending, losses, strict=True):
            if not torch.isfinite(torch.tensor(loss)):
                path = self.pretrain / f"not_finite_step_{row['step']}.pth"
                if is_main():
                    save_atomic(
                        {"model_state_dict": self.model.state_dict(), "compositions": row["compositions"]}, path
                    )
                raise UserError(
                    f"the loss is {loss} at step {row['step']}, learning rate {row['learning_rate']:.3g}; the state "
                    f"and that batch's compositions are in {path}; the last good checkpoint is untouched"
                )
        bar.set_postfix(loss=f"{losses[-1]:.3f}", refresh=False)
        if self.log is not None:
            self.log.scalars(
                [
                    {
                        "step": row["step"],
                        "epoch": self.epoch,
                        "loss": loss,
                        "learning_rate": row["learning_rate"],
                        "images_per_second": round(images_per_second, 2),
                    }
                    for row, loss in zip(pending, losses, strict=True)
                ]
            )

    def _count_unreadable(self, messages: list[list[str]]) -> None:
        """Names each unreadable image once, and ends the run where there are too many."""
        for message in sorted({m for sample in messages for m in sample} - self.unreadable):
            self.unreadable.add(message)
            print(f"replaced in training: {message}", file=sys.stderr)
            if len(self.unreadable) > UNREADABLE_LIMIT * len(self.dataset):
                raise UserError(
                    f"{self.dataset.folder}: {len(self.unreadable)} of {len(self.dataset)} images cannot be read, "
                    f"more than {UNREADABLE_LIMIT:.0%}; the last one: {message}"
                )

    def _checkpoint(self, name: str) -> None:
        if self.log is None:
            return
        content = {
            "model_state_dict": self.model.state_dict(),
            "optimizer_state_dict": self.optimizer.state_dict(),
            "scheduler_state_dict": self.scheduler.state_dict() if self.scheduler is not None else {},
            "scaler_state_dict": self.scaler.state_dict(),
            "epoch": self.epoch,
            "step": self.step,
            "validated": self.validated,
            "best": self.best,
            "unreadable": sorted(self.unreadable),
            "config": self.config.to_dict(),
        }
        replace_checkpoint(content, self.pretrain / name, LAST)

    def _restore(self, state: Mapping[str, Any]) -> None:
        """Takes up the state of a checkpoint."""
        self.model.load_state_dict(state["model_state_dict"])
        self.optimizer.load_state_dict(state["optimizer_state_dict"])
        self.scaler.load_state_dict(state["scaler_state_dict"])
        if self.scheduler is not None:
            self.scheduler.load_state_dict(state["scheduler_state_dict"])
        self.epoch, self.step, self.validated = state["epoch"], state["step"], state["validated"]
        self.best = state["best"]
        self.unreadable = set(state["unreadable"])

    def _save_best(self, name: str) -> None:
        if is_main():
            weights = {key: value.contiguous() for key, value in self.model.state_dict().items()}
            replace_checkpoint(weights, self.pretrain / name, BEST)

    def _stopped(self) -> Stopped:
        where = f"epoch {self.epoch}, step {self.step} of {self.steps}"
        number = self.stop.signal or 15
        return Stopped(number, f"stopped at {where}, the state is saved; go on with {resume_hint(self.config)}")


def training_step(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    view_a: Tensor,
    view_b: Tensor,
    device: torch.device,
) -> Tensor:
    """One update from two views (2n x 3 x H x W each); returns the loss, still on the device."""
    view_a = view_a.to(device, memory_format=torch.channels_last, non_blocking=True)
    view_b = view_b.to(device, memory_format=torch.channels_last, non_blocking=True)
    with torch.autocast(device.type, enabled=scaler.is_enabled()):
        loss = model(view_a, view_b)
    optimizer.zero_grad(set_to_none=True)
    scaler.scale(loss).backward()
    scaler.step(optimizer)
    scaler.update()
    return loss.detach()


def validate(
    features: NDArray[np.float32], dataset: IQADataset, config: Config, device: torch.device
) -> dict[str, float]:
    """Median SROCC and PLCC over the validation splits, at the fixed `validation.alpha` (no search)."""
    validation = config.validation
    result = evaluate(features, dataset, "val", validation.num_splits, [validation.alpha], device=device)
    return {"srocc": result.srocc, "plcc": result.plcc}


def training_set(config: Config) -> KADIS700Dataset:
    """KADIS700's pristine images, or those of `training.data.pristine_path`."""
    data = config.training.data
    kadis700 = Path(config.data_base_path) / "KADIS700"
    root, images_folder = (data.pristine_path, ".") if data.pristine_path else (kadis700, "ref_imgs")
    return KADIS700Dataset(
        root,
        data.patch_size,
        data.max_distortions,
        data.num_levels,
        data.pristine_prob,
        config.seed,
        images_folder,
    )


def batch_sampler(dataset: KADIS700Dataset, config: Config) -> TrainingBatchSampler:
    """The sampler of this process; `training.batch_size` counts images over all processes."""
    batch_size = config.training.batch_size
    if batch_size % world_size():
        raise UserError(f"training.batch_size: {batch_size} is not a multiple of the {world_size()} processes")
    if batch_size > len(dataset):
        raise UserError(
            f"training.batch_size: {batch_size} is more than the {len(dataset)} images in {dataset.folder}, "
            "so that no batch is full"
        )
    return TrainingBatchSampler(len(dataset), batch_size, config.seed, rank(), world_size())


def training_loader(
    dataset: KADIS700Dataset, sampler: TrainingBatchSampler, config: Config, device: torch.device
) -> DataLoader:
    workers = config.training.num_workers
    return DataLoader(
        dataset,
        batch_sampler=sampler,
        num_workers=workers,
        collate_fn=collate,
        pin_memory=device.type == "cuda",
        persistent_workers=workers > 0,
        prefetch_factor=4 if workers > 0 else None,
        worker_init_fn=leave_stopping_to_parent,
    )


def build_model(config: Config) -> SimCLR:
    """The model before its first step: a function of the seed and `model.*`.

    Raises:
        UserError: the ImageNet weights are asked for and cannot be had.
    """
    try:
        return initial_model(config.seed, asdict(config.model.encoder), config.model.temperature)
    except WeightsError as error:
        raise UserError(str(error)) from error


def parallel_model(model: SimCLR, config: Config, device: torch.device) -> nn.Module:
    """The model as the loop calls it: compiled if asked for, and synchronised over the processes."""
    parallel: nn.Module = model
    if world_size() > 1:
        if device.type == "cuda":  # SyncBatchNorm exists there only
            model.encoder = nn.SyncBatchNorm.convert_sync_batchnorm(model.encoder)
        parallel = DistributedDataParallel(model, device_ids=None if device.index is None else [device.index])
    if config.training.compile:
        parallel.compile()
    return parallel


def build_optimizer(model: nn.Module, config: Config) -> torch.optim.Optimizer:
    """The optimizer of `training.optimizer`, in its fused form."""
    settings = config.training.optimizer
    common: dict[str, Any] = {"lr": config.training.lr, "weight_decay": settings.weight_decay, "fused": True}
    if settings.name == "SGD":
        return torch.optim.SGD(model.parameters(), momentum=settings.momentum, **common)
    kind = {"Adam": torch.optim.Adam, "AdamW": torch.optim.AdamW}[settings.name]
    return kind(model.parameters(), betas=tuple(settings.betas), eps=settings.eps, **common)


def build_scheduler(
    optimizer: torch.optim.Optimizer, config: Config
) -> torch.optim.lr_scheduler.CosineAnnealingWarmRestarts | None:
    """The scheduler of `training.lr_scheduler`, stepped with the fractional epoch; None for a constant rate."""
    settings = config.training.lr_scheduler
    if settings.name is None:
        return None
    return torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(
        optimizer, T_0=settings.T_0, T_mult=settings.T_mult, eta_min=settings.eta_min
    )


def log_input_images(log: RunLog, step: int, batch: Mapping[str, Any], count: int = 4) -> None:
    """Sends the first few pairs of full-scale crops, with the composition that degraded them."""
    for view in ("A", "B"):
        images = [to_pil_image(denormalize(x)) for x in batch[f"img_{view}_orig"][:count]]
        captions = [
            f"{name}: " + (", ".join(f"{kind} {level:g}" for kind, level in composition) or "pristine")
            for name, composition in zip(batch[f"img_{view}_name"], batch["composition"], strict=True)
        ]
        log.images(step, f"input_{view}", images, captions[:count])


def progress_bar(epoch: int, epochs: int, steps: int, done: int) -> tqdm:
    """Silent where standard error is not a terminal, and on all processes but the first."""
    silent = None if is_main() else True
    return tqdm(desc=f"epoch {epoch + 1}/{epochs}", total=steps, initial=done, unit="step", disable=silent)
