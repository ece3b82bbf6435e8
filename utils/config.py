"""The configuration: every key with its type, range, default and meaning; its file and its command line."""

# `key` and `section` make dataclass fields, as `dataclasses.field` does.
# ruff: noqa: RUF009

import argparse
import dataclasses
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import takewhile
from pathlib import Path
from typing import Any, Literal, NoReturn

import torch
import yaml

from utils.errors import UserError
from utils.schema import Key, build, flatten, key, keys_of, read, section, unknown_key

DATASETS = ["live", "csiq", "tid2013", "kadid10k", "flive", "spaq"]  # those of the paper's tables


@dataclass(frozen=True)
class DataSection:
    pristine_path: str | None = key(None, "folder of pristine images to train on instead of KADIS700/ref_imgs")
    patch_size: int = key(224, "side of the training crops in pixels", within="[32, inf)")
    max_distortions: int = key(4, "most distortions in a composition; 0 degrades nothing", within="[0, 7]")
    num_levels: int = key(5, "levels to draw from, the mildest first", within="[1, 5]")
    pristine_prob: float = key(0.05, "probability that a sample is not degraded", within="[0, 1]")


@dataclass(frozen=True)
class OptimizerSection:
    name: Literal["SGD", "Adam", "AdamW"] = key("SGD", "optimizer, from torch.optim")
    momentum: float = key(0.9, "SGD only", within="[0, 1)")
    weight_decay: float = key(1e-4, "of every optimizer", within="[0, inf)")
    betas: list[float] = key([0.9, 0.999], "Adam and AdamW only", within="[0, 1)", length=2)
    eps: float = key(1e-8, "Adam and AdamW only", within="(0, inf)")


@dataclass(frozen=True)
class SchedulerSection:
    name: Literal["CosineAnnealingWarmRestarts"] | None = key(
        "CosineAnnealingWarmRestarts", "stepped every iteration; null keeps the rate constant"
    )
    T_0: int = key(1, "epochs until the first restart", within="[1, inf)")
    T_mult: int = key(2, "factor of the epochs between restarts", within="[1, inf)")
    eta_min: float = key(1e-6, "lowest learning rate", within="[0, inf)")


@dataclass(frozen=True)
class TrainingSection:
    epochs: int = key(10, "passes over the training images", within="[1, inf)")
    lr: float = key(1e-3, "learning rate at the start and after a restart", within="(0, inf)")
    batch_size: int = key(16, "images in a step, over all processes", within="[1, inf)")
    num_workers: int = key(20, "data-loading processes; 0 loads in the main one", within="[0, inf)")
    log_images_frequency: int = key(1000, "steps between logged samples; 0 logs none", within="[0, inf)")
    checkpoint_frequency: int = key(
        1000, "steps between checkpoints within an epoch; 0: only at its end", within="[0, inf)"
    )
    resume_training: bool = key(False, "go on from the last checkpoint of experiment_name")
    compile: bool = key(False, "compile the model with torch.compile")
    data: DataSection = section(DataSection)
    optimizer: OptimizerSection = section(OptimizerSection)
    lr_scheduler: SchedulerSection = section(SchedulerSection)


@dataclass(frozen=True)
class TsneSection:
    n_components: int = key(3, "dimensions of the picture", within="[2, 3]")
    perplexity: float = key(30.0, "about the number of neighbours that count", within="(0, inf)")
    n_iter: int = key(1000, "iterations", within="[250, inf)")


@dataclass(frozen=True)
class UmapSection:
    n_components: int = key(3, "dimensions of the picture", within="[2, 3]")
    n_neighbors: int = key(25, "neighbours that count", within="[2, inf)")
    min_dist: float = key(0.2, "least distance between points", within="[0, 1]")
    metric: str = key("euclidean", "distance between embeddings, a name that UMAP knows")


@dataclass(frozen=True)
class VisualizationSection:
    tsne: TsneSection = section(TsneSection)
    umap: UmapSection = section(UmapSection)


@dataclass(frozen=True)
class ValidationSection:
    frequency: int = key(1, "epochs between validations", within="[1, inf)")
    num_splits: int = key(10, "splits of each dataset to validate on", within="[1, 10]")
    alpha: float = key(0.1, "ridge regularisation", within="(0, inf)")
    visualize: bool = key(
        True, "draw the embeddings of kadid10k (else of the first dataset, if it has types) after validation and test"
    )
    visualization: VisualizationSection = section(VisualizationSection)
    datasets: list[str] = key(DATASETS, "datasets to validate on; a folder with labels.csv is one too")


@dataclass(frozen=True)
class TestSection:
    batch_size: int = key(16, "images whose features are extracted at once", within="[1, inf)")
    num_workers: int = key(20, "data-loading processes; 0 loads in the main one", within="[0, inf)")
    num_splits: int = key(10, "splits of each dataset to test on", within="[1, 10]")
    grid_search: bool = key(True, "choose the ridge alpha on the validation images")
    alpha: float = key(0.1, "ridge regularisation without grid_search", within="(0, inf)")
    crop_size: int = key(224, "side in pixels of the five crops, in validation too", within="[32, inf)")
    datasets: list[str] = key(DATASETS, "datasets to test on; a folder with labels.csv is one too")
    cross_dataset: bool = key(False, "also fit on each whole dataset and test on every other", alias="cross_dataset")
    compare_untrained: bool = key(False, "also test the encoder as it was before its first step")
    train_fraction: list[float] = key([1.0], "parts of each training split to fit on", within="(0, 1]")


@dataclass(frozen=True)
class EncoderSection:
    embedding_dim: int = key(128, "size of the projection that the loss sees", within="[1, inf)")
    pretrained: bool = key(True, "start from torchvision's ImageNet weights (IMAGENET1K_V1)")
    use_norm: bool = key(True, "L2-normalise features and projections")


@dataclass(frozen=True)
class ModelSection:
    temperature: float = key(0.1, "of the contrastive loss", within="(0, inf)")
    encoder: EncoderSection = section(EncoderSection)


@dataclass(frozen=True)
class WandbSection:
    online: bool = key(True, "send to the W&B servers; false keeps the run in files")
    project: str | None = key(None, "W&B project; must be set to log online")
    entity: str | None = key(None, "W&B user or team; must be set to log online")


@dataclass(frozen=True)
class LoggingSection:
    use_wandb: bool = key(True, "log to Weights & Biases")
    wandb: WandbSection = section(WandbSection)


@dataclass(frozen=True, kw_only=True)
class Config:
    """The whole configuration; it does not change after it was read."""

    experiment_name: str = key(
        help="name of the run and of its folder in experiments/",
        pattern=r'[^./\\:*?"<>|][^/\\:*?"<>|]*',
        allowed='folder name, none of / \\ : * ? " < > |, no leading dot',
    )
    data_base_path: str = key(help="folder that holds the datasets' folders")
    device: int | str = key(
        0,
        "where to compute",
        pattern=r"-1|\d+|cpu|mps|cuda(:\d+)?",
        allowed="cpu (or -1), GPU number, cuda, cuda:NUMBER or mps",
    )
    seed: int = key(27, "of every random draw", within="[0, 4294967295]")
    training: TrainingSection = section(TrainingSection)
    validation: ValidationSection = section(ValidationSection)
    test: TestSection = section(TestSection)
    model: ModelSection = section(ModelSection)
    logging: LoggingSection = section(LoggingSection)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], where: str = "") -> "Config":
        """From nested mappings (dotted names are taken too); keys that are absent take their defaults.

        Raises:
            UserError: as `load_config`; `where` begins the message.
        """
        return _complete(read(KEYS, values, where), where)

    def to_dict(self) -> dict[str, Any]:
        """Nested dict of plain values, for YAML and for checkpoints."""
        return dataclasses.asdict(self)


KEYS: dict[str, Key] = keys_of(Config)


def load_config(path: str | Path, overrides: Mapping[str, Any] | Iterable[tuple[str, Any]] = ()) -> Config:
    """Reads a YAML file; keys that it does not have take their defaults.

    Args:
        path: of the file.
        overrides: values by dotted name that stand over the file's; texts are converted to the key's type.

    Raises:
        UserError: the file is missing or not YAML; a key is unknown, given twice, of the wrong type, out of
            range, or must be set and is not.
    """
    values = read(KEYS, _read_yaml(Path(path)), f"{path}: ")
    return _complete(values | read(KEYS, dict(overrides), "--"), f"{path}: ")


def save_config(config: Config, path: str | Path) -> None:
    """Writes every key with its meaning as a comment; `load_config` gives the same configuration back."""
    try:
        Path(path).write_text(render(dict(flatten(config.to_dict()))), encoding="utf-8")
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror})") from error


def render(values: Mapping[str, Any]) -> str:
    """YAML with a comment at every key, from values by dotted name; a key without a value is null."""
    lines: list[str] = []
    above: list[str] = []
    for name, known in KEYS.items():
        *sections, last = name.split(".")
        for depth, title in enumerate(sections):
            if sections[: depth + 1] != above[: depth + 1]:
                lines += [*([""] if depth == 0 else []), f"{'  ' * depth}{title}:"]
        above = sections
        line = f"{'  ' * len(sections)}{last}: {_yaml_text(values.get(name))}"
        must = "; must be set" if known.required else ""
        lines.append(f"{line:<36}  # {known.help} ({known.describe()}{must})")
    return "\n".join(lines) + "\n"


def diff(a: Config, b: Config) -> list[tuple[str, Any, Any]]:
    """(key, value in a, value in b) of every key in which they differ, in the keys' order."""
    values_a, values_b = dict(flatten(a.to_dict())), dict(flatten(b.to_dict()))
    return [(name, values_a[name], values_b[name]) for name in KEYS if values_a[name] != values_b[name]]


def parse_command_line(
    description: str,
    add_arguments: Callable[[argparse.ArgumentParser], None] | None = None,
    argv: Sequence[str] | None = None,
) -> tuple[Config, argparse.Namespace]:
    """Reads `--config FILE` and any key as an option (`--training.data.max_distortions 7`).

    Args:
        description: what the script does, for --help.
        add_arguments: adds the script's own options to the parser.
        argv: the arguments, those of the process by default.

    Returns:
        The configuration, and `config` (a Path) together with the script's own options.

    Raises:
        UserError: as `load_config`, or the command line is wrong.
    """
    parser = _Parser(
        description=description,
        usage="%(prog)s --config FILE [--KEY VALUE ...]",
        epilog="A key given here stands over the file's, and a default holds where neither has the key.",
        allow_abbrev=False,
    )
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="path of the YAML file")
    if add_arguments:
        add_arguments(parser)
    _add_keys(parser)
    arguments, unknown = parser.parse_known_args(argv)
    given = vars(arguments)
    overrides = {name: given.pop(name) for name in list(given) if name in KEYS}
    if unknown:
        raise UserError(_unknown_argument(unknown, {**KEYS, **dict.fromkeys(given)}))
    return load_config(arguments.config, overrides), arguments


def resolve_device(value: int | str) -> torch.device:
    """The device that the key `device` names: -1 or `cpu`, a GPU number, `cuda`, `cuda:1` or `mps`.

    Raises:
        UserError: this machine or this build of PyTorch does not have it.
    """
    if value in (-1, "cpu"):
        return torch.device("cpu")
    accelerator = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    if accelerator is None:
        raise UserError(f"device: found {value!r}, but PyTorch sees no GPU here; pass --device cpu to do without")
    device = torch.device(accelerator.type, value) if isinstance(value, int) else torch.device(value)
    count = torch.accelerator.device_count()
    if device.type != accelerator.type or (device.index or 0) >= count:
        numbers = "0" if count == 1 else f"0 to {count - 1}"
        raise UserError(
            f"device: found {value!r}, but PyTorch sees only {accelerator.type} here; "
            f"allowed: {accelerator.type}, the number {numbers}, or cpu"
        )
    return device


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UserError(message)


def _add_keys(parser: argparse.ArgumentParser) -> None:
    """An option for every key, grouped by section; one that is not given is not in the namespace."""
    others = parser.add_argument_group("keys")
    sections = [f.name for f in fields(Config) if f.name not in KEYS]
    groups = {name: parser.add_argument_group(name) for name in sections}
    for name, known in KEYS.items():
        default = "must be set" if known.required else f"default: {_yaml_text(known.default)}"
        groups.get(name.partition(".")[0], others).add_argument(
            *[f"--{option}" for option in (name, known.alias) if option],
            dest=name,
            nargs="+" if known.is_list else None,
            default=argparse.SUPPRESS,
            metavar="VALUE",
            help=f"{known.help} ({known.describe()}; {default})".replace("%", "%%"),
        )


def _unknown_argument(unknown: Sequence[str], known: Mapping[str, Key | None]) -> str:
    """One line about the first of the arguments that nothing takes."""
    option, *rest = unknown
    if not option.startswith("-"):
        return f"{option}: no such argument; options are written --KEY VALUE, and --help lists all"
    name, equals, value = option.lstrip("-").partition("=")
    values = [value] if equals else takewhile(lambda word: not word.startswith("--"), rest)
    return unknown_key(name, " ".join(values), known, "--")


def _complete(values: Mapping[str, Any], where: str) -> Config:
    """The configuration of parsed values, once all that must be set is there."""
    missing = [name for name, known in KEYS.items() if known.required and name not in values]
    online = all(values.get(name, KEYS[name].default) for name in ("logging.use_wandb", "logging.wandb.online"))
    hint = ""
    if online:
        wandb = [n for n in ("logging.wandb.project", "logging.wandb.entity") if values.get(n) is None]
        missing += wandb
        hint = "; without W&B pass --logging.use_wandb false" if wandb else ""
    if missing:
        names = ", ".join(missing)
        raise UserError(f"{where}{names} must be set, in the file or as --{missing[0]} VALUE{hint}")
    return build(Config, values)


class _Loader(yaml.SafeLoader):
    """YAML in which a key that stands twice is an error; PyYAML itself would quietly take the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key_node, _ in node.value:
            name = str(key_node.value)
            if name in seen:
                raise yaml.MarkedYAMLError(problem=f"{name} is given twice", problem_mark=key_node.start_mark)
            seen.add(name)
        return super().construct_mapping(node, deep)


def _read_yaml(path: Path) -> dict[Any, Any]:
    try:
        content = yaml.load(path.read_bytes(), _Loader)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); a configuration file is expected") from error
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a date such as 2026-13-01
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise UserError(f"{path}{line}: not valid YAML ({problem})") from error
    if not isinstance(content, dict | None):
        raise UserError(f"{path}: found {type(content).__name__}, allowed: lines of the form 'key: value'")
    return content or {}


def _yaml_text(value: Any) -> str:
    """A value as it stands in a YAML file, on one line."""
    text = yaml.safe_dump(value, default_flow_style=True, width=float("inf"), allow_unicode=True)
    return text.splitlines()[0]
