"""Every key of the configuration, with its type, range, default and meaning."""

# `key` and `section` make dataclass fields, as `dataclasses.field` does.
# ruff: noqa: RUF009

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from models.errors import UserError
from models.names import ALLOWED as ALLOWED_NAME
from models.names import NAME
from models.regressor import MAX_SIDE
from utils.config.schema import Key, build, flatten, key, keys_of, read, section

DATASET_NAMES = {"pattern": NAME, "allowed": "list of one or more folder names, no paths, each once"}
MAX_COUNT = 65536  # of images in a batch and of dimensions; larger values only run out of memory
DATASETS = ["live", "csiq", "tid2013", "kadid10k", "flive", "spaq"]  # those of the paper's tables


@dataclass(frozen=True)
class DataSection:
    pristine_path: str | None = key(None, "folder of pristine images to train on instead of KADIS700/ref_imgs")
    patch_size: int = key(224, "side of the training crops in pixels", within=f"[32, {MAX_SIDE}]")
    max_distortions: int = key(4, "maximum number of distortions in a composition; 0: none", within="[0, 7]")
    num_levels: int = key(5, "number of levels to draw from, mildest first", within="[1, 5]")
    pristine_prob: float = key(0.05, "probability that a sample is not degraded", within="[0, 1]")
    same_image: bool = key(False, "both views show the same image (an ablation in the paper)")
    half_scale: bool = key(True, "half-scale crops are hard negatives in the loss")


@dataclass(frozen=True)
class OptimizerSection:
    name: Literal["SGD", "Adam", "AdamW"] = key("SGD", "optimizer, from torch.optim")
    momentum: float = key(0.9, "momentum of SGD", within="[0, 1)")
    weight_decay: float = key(1e-4, "weight decay (L2 penalty; decoupled in AdamW)", within="[0, inf)")
    betas: list[float] = key([0.9, 0.999], "decay rates of the moments in Adam and AdamW", within="[0, 1)", length=2)
    eps: float = key(1e-8, "added to the denominator in Adam and AdamW", within="(0, inf)")


@dataclass(frozen=True)
class SchedulerSection:
    name: Literal["CosineAnnealingWarmRestarts"] | None = key(
        "CosineAnnealingWarmRestarts", "scheduler, stepped every iteration; null: constant rate"
    )
    T_0: int = key(1, "epochs before the first restart", within="[1, 1000000]")
    T_mult: int = key(2, "factor by which the epochs between restarts grow", within="[1, 1000000]")
    eta_min: float = key(1e-6, "minimum learning rate", within="[0, inf)")


@dataclass(frozen=True)
class TrainingSection:
    epochs: int = key(10, "passes over the training images", within="[1, inf)")
    lr: float = key(1e-3, "learning rate at the start and after a restart", within="(0, inf)")
    batch_size: int = key(16, "images per step, over all processes", within=f"[1, {MAX_COUNT}]")
    num_workers: int = key(20, "data-loading processes, at most one per core; 0: none", within="[0, inf)")
    log_images_frequency: int = key(1000, "batches between two logged ones; 0: none", within="[0, inf)")
    checkpoint_frequency: int = key(
        1000, "steps between checkpoints within an epoch; 0: only at its end", within="[0, inf)"
    )
    resume_training: bool = key(False, "resume from the last checkpoint of experiment_name")
    compile: bool = key(False, "compile the model with torch.compile")
    precision: Literal["auto", "float32", "float16", "bfloat16"] = key(
        "auto", "precision of the network; auto: float16 with a gradient scaler on CUDA, else float32"
    )
    data: DataSection = section(DataSection)
    optimizer: OptimizerSection = section(OptimizerSection)
    lr_scheduler: SchedulerSection = section(SchedulerSection)


@dataclass(frozen=True)
class TsneSection:
    n_components: int = key(3, "dimensions of the plot", within="[2, 3]")
    perplexity: float = key(30.0, "perplexity, roughly the number of neighbours", within="(0, inf)")
    n_iter: int = key(1000, "maximum number of iterations", within="[250, inf)")


@dataclass(frozen=True)
class UmapSection:
    n_components: int = key(3, "dimensions of the plot", within="[2, 3]")
    n_neighbors: int = key(25, "number of neighbours", within="[2, inf)")
    min_dist: float = key(0.2, "minimum distance between points", within="[0, 1]")
    metric: str = key("euclidean", "metric between embeddings, as named by UMAP")


@dataclass(frozen=True)
class VisualizationSection:
    tsne: TsneSection = section(TsneSection)
    umap: UmapSection = section(UmapSection)


@dataclass(frozen=True)
class ValidationSection:
    frequency: int = key(1, "epochs between validations", within="[1, inf)")
    num_splits: int = key(10, "number of splits of each dataset", within="[1, 10]")
    alpha: float = key(0.1, "ridge regularisation", within="(0, inf)")
    visualize: bool = key(True, "plot the embeddings of kadid10k (else of the first dataset) after validation and test")
    visualization: VisualizationSection = section(VisualizationSection)
    datasets: list[str] = key(
        DATASETS, "validation datasets; also names of folders with a labels.csv", unique=True, **DATASET_NAMES
    )


@dataclass(frozen=True)
class TestSection:
    batch_size: int = key(16, "images per batch in feature extraction", within=f"[1, {MAX_COUNT}]")
    num_workers: int = key(20, "data-loading processes, at most one per core; 0: none", within="[0, inf)")
    num_splits: int = key(10, "number of splits of each dataset", within="[1, 10]")
    grid_search: bool = key(True, "choose the ridge alpha on the validation splits")
    alpha: float = key(0.1, "ridge regularisation without grid_search", within="(0, inf)")
    crop_size: int = key(224, "side of the five crops in pixels, also in validation", within=f"[32, {MAX_SIDE}]")
    shorter_side: int | None = key(
        None,
        "shorter side in pixels to resize images to, also in validation; null: not resized; spaq: always 512",
        within=f"[32, {MAX_SIDE}]",
    )
    precision: Literal["float32", "tf32", "float16", "bfloat16"] = key(
        "float32", "precision of the encoder, also in validation"
    )
    datasets: list[str] = key(
        DATASETS, "test datasets; also names of folders with a labels.csv", unique=True, **DATASET_NAMES
    )
    cross_dataset: bool = key(False, "also fit on each dataset and test on every other", alias="cross_dataset")
    compare_untrained: bool = key(False, "also test the untrained encoder")
    full_reference: bool = key(False, "regress from the distance to the features of the reference image")
    train_fraction: list[float] = key([1.0], "fractions of each training split to fit on", within="(0, 1]")


@dataclass(frozen=True)
class EncoderSection:
    embedding_dim: int = key(128, "dimension of the projection", within=f"[1, {MAX_COUNT}]")
    pretrained: bool = key(True, "start from torchvision's ImageNet weights (IMAGENET1K_V1)")
    use_norm: bool = key(True, "L2-normalise features and projections")


@dataclass(frozen=True)
class ModelSection:
    temperature: float = key(0.1, "temperature of the contrastive loss", within="(0, inf)")
    encoder: EncoderSection = section(EncoderSection)


@dataclass(frozen=True)
class WandbSection:
    online: bool = key(True, "send to the W&B servers; false: log to files")
    project: str | None = key(None, "W&B project; null: nothing is logged online")
    entity: str | None = key(None, "W&B user or team; null: your default")


@dataclass(frozen=True)
class LoggingSection:
    use_wandb: bool = key(True, "log to Weights & Biases")
    wandb: WandbSection = section(WandbSection)


@dataclass(frozen=True, kw_only=True)
class Config:
    """The whole configuration; it does not change once it is read."""

    experiment_name: str = key(
        help="name of the experiment and of its folder in experiments/",
        pattern=NAME,
        allowed=ALLOWED_NAME,
    )
    data_base_path: str = key(help="folder that contains the datasets")
    device: int | str = key(
        "auto",
        "device; auto: a GPU if there is one, else the CPU",
        pattern=r"auto|-1|\d+|cpu|mps|cuda(:\d+)?",
        allowed="auto, cpu (or -1), GPU number, cuda, cuda:NUMBER or mps",
    )
    deterministic: bool = key(False, "use deterministic algorithms where available; slower on a GPU")
    seed: int = key(27, "random seed", within="[0, 4294967295]")
    training: TrainingSection = section(TrainingSection)
    validation: ValidationSection = section(ValidationSection)
    test: TestSection = section(TestSection)
    model: ModelSection = section(ModelSection)
    logging: LoggingSection = section(LoggingSection)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], where: str = "") -> "Config":
        """Builds a configuration from nested mappings or dotted names; absent keys take their defaults.

        Raises:
            UserError: as `load_config`; `where` begins the message.
        """
        return complete(read(KEYS, values, where), where)

    def to_dict(self) -> dict[str, Any]:
        """Returns a nested dict of plain values, for YAML and checkpoints."""
        return dataclasses.asdict(self)


KEYS: dict[str, Key] = keys_of(Config)


def diff(a: Config, b: Config) -> list[tuple[str, Any, Any]]:
    """Lists (key, value in a, value in b) for every key that differs, in the keys' order."""
    values_a, values_b = dict(flatten(a.to_dict())), dict(flatten(b.to_dict()))
    return [(name, values_a[name], values_b[name]) for name in KEYS if values_a[name] != values_b[name]]


def complete(values: Mapping[str, Any], where: str) -> Config:
    """Builds the configuration from parsed values.

    Raises:
        UserError: a key that must be set is not.
    """
    missing = [name for name, known in KEYS.items() if known.required and name not in values]
    if missing:
        names = ", ".join(missing)
        raise UserError(f"{where}{names} must be set, in the file or as --{missing[0]} VALUE")
    return build(Config, values)
