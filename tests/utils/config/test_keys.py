"""The configuration: file, command-line options, errors and devices."""

import argparse
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st

from models.errors import UserError
from models.names import NAME
from tests.contract.test_compatibility import PUBLISHED
from utils.config.command_line import parse_command_line
from utils.config.keys import KEYS, Config, diff
from utils.config.schema import flatten
from utils.config.yaml_file import config_as_text, load_config, save_config
from utils.runtime.device import resolve_device

ROOT = Path(__file__).resolve().parents[3]
REQUIRED = {"experiment_name": "mine", "data_base_path": "datasets", "logging.use_wandb": False}


@pytest.fixture
def write(tmp_path: Path) -> Any:
    """Returns a function that writes a YAML file with the required keys and the given text."""

    def write_file(text: str = "", required: bool = True) -> Path:
        path = tmp_path / "mine.yaml"
        path.write_text((yaml.safe_dump(REQUIRED) if required else "") + text, encoding="utf-8")
        return path

    return write_file


def message_of(path: Path, *argv: str) -> str:
    """The error message for this file and these options; checks that it is one line."""
    with pytest.raises(UserError) as caught:
        parse_command_line("test", argv=["--config", str(path), *argv])
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    return message


def test_the_published_values_are_the_defaults(write: Any) -> None:
    published = load_config(write(PUBLISHED, required=False), REQUIRED)
    defaults = Config.from_dict(REQUIRED)
    assert diff(published, defaults) == [("device", 0, "auto")]
    assert (defaults.test.crop_size, defaults.training.optimizer.betas) == (224, [0.9, 0.999])


def test_the_file_that_the_published_code_saves_is_accepted(write: Any, capsys: pytest.CaptureFixture[str]) -> None:
    saved = PUBLISHED + "    run_id: 1abc\ncheckpoint_base_path: /somewhere\n"  # it ends with logging.wandb
    path = write(saved, required=False)
    assert load_config(path, REQUIRED) == load_config(write(PUBLISHED, required=False), REQUIRED)
    (line,) = capsys.readouterr().err.splitlines()
    names = "checkpoint_base_path ('/somewhere'), logging.wandb.run_id ('1abc')"
    assert line == f"{path}: {names} are not used; checkpoints are in experiments/"


@pytest.mark.parametrize(("text", "value"), [("y", True), ("Y", True), ("n", False)])
def test_booleans_are_those_of_the_published_command_line(write: Any, text: str, value: bool) -> None:
    config, _ = parse_command_line("test", argv=["--config", str(write()), "--test.grid_search", text])
    assert config.test.grid_search is value
    assert load_config(write(f"test: {{grid_search: {text}}}")).test.grid_search is value


def test_config_yaml_has_every_default_with_its_comment() -> None:
    text = (ROOT / "config.yaml").read_text(encoding="utf-8")
    body = config_as_text({name: known.default for name, known in KEYS.items() if not known.required})
    assert text.endswith(f"\n\n{body}")
    assert all(line.startswith("#") for line in text.removesuffix(body).strip().splitlines())
    assert load_config(ROOT / "config.yaml", REQUIRED) == Config.from_dict(REQUIRED)


def test_quickstart_configuration_is_complete() -> None:
    config = load_config(ROOT / "configs" / "quickstart.yaml")
    assert config.training.lr == 5e-4  # written as 5e-4, which YAML 1.1 reads as a string
    assert not config.logging.use_wandb and not config.model.encoder.pretrained
    assert resolve_device(config.device) == torch.device("cpu")


def test_a_file_can_have_only_some_keys_and_dotted_names(write: Any) -> None:
    config = load_config(write("training: {epochs: 3}\nvalidation:\nlogging.wandb: {project: iqa}\n"))
    assert config == Config.from_dict({**REQUIRED, "training.epochs": 3, "logging.wandb.project": "iqa"})


def test_options_override_the_file(write: Any) -> None:
    path = write("training: {lr: 0.5, data: {max_distortions: 2}}")
    argv = "--training.data.max_distortions 7 --training.optimizer.betas 0.5 0.9 --training.optimizer.eps=1e-3"
    argv += " --test.train_fraction 0.1 1"
    config, arguments = parse_command_line("test", argv=["--config", str(path), *argv.split()])
    assert (config.training.lr, config.training.data.max_distortions) == (0.5, 7)
    assert (config.training.optimizer.betas, config.training.optimizer.eps) == ([0.5, 0.9], 1e-3)
    assert config.test.train_fraction == [0.1, 1.0] and isinstance(config.test.train_fraction[1], float)
    assert vars(arguments) == {"config": path}


def test_every_key_is_an_option(write: Any) -> None:
    """The default of each key, given as an option, is read as the default."""
    path = write("logging.wandb: {online: false, project: a, entity: b}")
    for name, known in KEYS.items():
        default = REQUIRED.get(name) if known.required else known.default
        words = [yaml.safe_dump(v).split("\n")[0] for v in (default if known.is_list else [default])]
        config, _ = parse_command_line("test", argv=["--config", str(path), f"--{name}", *words])
        assert dict(flatten(config.to_dict()))[name] == default


def test_null_on_the_command_line_and_in_the_file(write: Any) -> None:
    path = write("training: {lr_scheduler: {name: null}, data: {pristine_path: photos}}")
    assert load_config(path).training.lr_scheduler.name is None
    assert load_config(path, {"training.data.pristine_path": "null"}).training.data.pristine_path is None


def test_cross_dataset_alias(write: Any) -> None:
    for option in ("--cross_dataset", "--test.cross_dataset"):
        config, _ = parse_command_line("test", argv=["--config", str(write()), option, "true"])
        assert config.test.cross_dataset is True


def test_additional_arguments_of_a_script(write: Any) -> None:
    def add(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--eval_type", choices=["scratch", "arniqa"], required=True)

    path = str(write())
    _, arguments = parse_command_line("test", add, ["--config", path, "--eval_type", "arniqa"])
    assert arguments.eval_type == "arniqa"
    with pytest.raises(UserError, match=r"--evaltype: found 'x', .* nearest is eval_type"):
        parse_command_line("test", add, ["--config", path, "--eval_type", "arniqa", "--evaltype", "x"])


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("training.data.max_distortion", "training.data.max_distortions (integer in [0, 7])"),
        ("lr", "training.lr"),
        ("test.n_iter", "validation.visualization.tsne.n_iter"),
        ("optimizer.name", "training.optimizer.name (SGD, Adam or AdamW)"),
    ],
)
def test_unknown_key(write: Any, name: str, nearest: str) -> None:
    in_file = message_of(write(f"{name}: 7\n"))
    assert in_file.startswith(f"{write()}: {name}: found 7, ") and f"nearest is {nearest}" in in_file
    as_option = message_of(write(), f"--{name}", "7", "--training.epochs", "1")
    assert as_option.startswith(f"--{name}: found '7', ") and f"nearest is {nearest}" in as_option
    assert message_of(write(), f"--{name}=7") == as_option


@pytest.mark.parametrize(
    ("name", "text", "allowed"),
    [
        ("training.epochs", "true", "integer >= 1"),
        ("training.epochs", "null", "integer >= 1"),
        ("training.lr", "0", "number > 0"),
        ("training.lr", "1e999", "number > 0"),
        ("training.data.max_distortions", "8", "integer in [0, 7]"),
        ("training.optimizer.momentum", "1", "number in [0, 1)"),
        ("training.lr_scheduler.name", "StepLR", "CosineAnnealingWarmRestarts or null"),
        ("training.resume_training", "maybe", "true or false"),
        ("device", "gpu", "auto, cpu (or -1), GPU number"),
        ("experiment_name", "a" * 101, "folder name of at most 100 characters"),
    ],
)
def test_wrong_value(tmp_path: Path, name: str, text: str, allowed: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({**REQUIRED, name: yaml.safe_load(text)}), encoding="utf-8")
    in_file = message_of(path)
    assert in_file.startswith(f"{path}: {name}: found ") and f"allowed: {allowed}" in in_file
    assert repr(yaml.safe_load(text)) in in_file
    path.write_text(yaml.safe_dump(REQUIRED), encoding="utf-8")
    assert message_of(path, f"--{name}", text).startswith(f"--{name}: found {text!r}, allowed: {allowed}")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("validation: {datasets: live}", "validation.datasets: found 'live', allowed: list of one or more folder"),
        ("test: {datasets: [live, csiq, live]}", "each once"),  # it would count twice in the averages
        ("training: {optimizer: {betas: [0.9]}}", "allowed: list of 2: number in [0, 1)"),
        ("training: 7", "training: found 7, allowed: a section with epochs, lr,"),
        ("training: {lr: 1}\ntraining.lr: 2", "training.lr: given twice"),
        ("seed: 1\nseed: 2", "not valid YAML (seed is given twice)"),
        ("a: b: c", "line 4: not valid YAML (mapping values are not allowed here)"),
        ("seed: \0", "not valid YAML"),
    ],
)
def test_wrong_file(write: Any, text: str, expected: str) -> None:
    path = write(text)
    message = message_of(path)
    assert message.startswith(str(path)) and expected in message


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("just a text\n", "allowed: lines of the form 'key: value'"),
        ("", "experiment_name, data_base_path must be set"),
        ("experiment_name: 2026-01-01\ndata_base_path: d\n", "put the text in quotes"),
    ],
)
def test_a_file_without_the_required_keys(write: Any, text: str, expected: str) -> None:
    assert expected in message_of(write(text, required=False))


def test_an_empty_text_counts_as_not_set(write: Any) -> None:
    """As in the published config.yaml, where the command line fills it in."""
    text = 'experiment_name: ""\ndata_base_path: b\nlogging: {wandb: {project: "", entity: ""}}\n'
    path = write(text, required=False)
    assert "experiment_name must be set" in message_of(path)
    assert "--experiment_name: found ''" in message_of(path, "--experiment_name", "")
    config = load_config(path, {"experiment_name": "mine"})
    assert config.experiment_name == "mine"
    assert config.logging.wandb.project is None and config.logging.wandb.entity is None


def test_help_lists_every_key(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    with pytest.raises(SystemExit) as exit_:
        parse_command_line("what the script does", argv=["--help"])
    assert exit_.value.code == 0
    text = capsys.readouterr().out
    for known in KEYS.values():
        # Since Python 3.13, a comma separates the names of an option.
        assert f"--{known.name} " in text or f"--{known.name}, " in text
        assert f"{known.help} ({known.describe()}; " in text


TEXTS = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1).filter(str.strip)


@given(
    path=TEXTS.filter(lambda text: text != "null"),
    lr=st.floats(min_value=0, exclude_min=True, allow_infinity=False),
    datasets=st.lists(st.from_regex(NAME, fullmatch=True), min_size=1, unique=True),
    device=st.sampled_from(["auto", -1, 0, 7, "cpu", "cuda", "cuda:1", "mps"]),
    resume=st.booleans(),
)
def test_a_saved_configuration_is_read_unchanged(
    tmp_path_factory: pytest.TempPathFactory, path: str, lr: float, datasets: list, device: int | str, resume: bool
) -> None:
    file = tmp_path_factory.mktemp("config") / "config.yaml"
    values = {"data_base_path": path, "device": device, "training.lr": lr, "training.resume_training": resume}
    config = Config.from_dict({**REQUIRED, **values, "test.datasets": datasets})
    save_config(config, file)
    assert load_config(file) == config
    assert yaml.safe_load(file.read_text(encoding="utf-8")) == config.to_dict()
    assert Config.from_dict(config.to_dict()) == config


def test_diff() -> None:
    a = Config.from_dict(REQUIRED)
    b = Config.from_dict({**REQUIRED, "training.lr": 1, "test": {"datasets": ["live"]}, "device": "cpu"})
    assert diff(a, a) == []
    changed = ("test.datasets", a.test.datasets, ["live"])
    assert diff(a, b) == [("device", "auto", "cpu"), ("training.lr", 1e-3, 1.0), changed]
