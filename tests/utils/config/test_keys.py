"""The configuration: file, command-line options, errors and devices."""

import argparse
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import UserError
from models.names import NAME
from utils.command import run_command
from utils.config.command_line import parse_command_line
from utils.config.keys import KEYS, Config, diff
from utils.config.yaml_file import load_config, render, save_config
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


def test_paper_values() -> None:
    """The defaults are the values of the paper (section 4.1)."""
    config = load_config(ROOT / "config.yaml", REQUIRED)
    assert (config.seed, config.device) == (27, "auto")
    training = config.training
    assert (training.epochs, training.lr, training.batch_size, training.num_workers) == (10, 1e-3, 16, 20)
    assert (training.log_images_frequency, training.resume_training, training.compile) == (1000, False, False)
    data = training.data
    assert (data.patch_size, data.max_distortions, data.num_levels, data.pristine_prob) == (224, 4, 5, 0.05)
    optimizer = training.optimizer
    assert (optimizer.name, optimizer.momentum, optimizer.weight_decay) == ("SGD", 0.9, 1e-4)
    assert (optimizer.betas, optimizer.eps) == ([0.9, 0.999], 1e-8)
    scheduler = training.lr_scheduler
    assert (scheduler.name, scheduler.T_0, scheduler.T_mult) == ("CosineAnnealingWarmRestarts", 1, 2)
    assert scheduler.eta_min == 1e-6
    assert (config.model.temperature, config.model.encoder.embedding_dim) == (0.1, 128)
    assert config.model.encoder.pretrained and config.model.encoder.use_norm
    validation, test = config.validation, config.test
    assert (validation.frequency, validation.num_splits, validation.alpha) == (1, 10, 0.1)
    assert vars(validation.visualization.tsne) == {"n_components": 3, "perplexity": 30, "n_iter": 1000}
    umap = {"n_components": 3, "n_neighbors": 25, "min_dist": 0.2, "metric": "euclidean"}
    assert vars(validation.visualization.umap) == umap
    assert (test.batch_size, test.num_workers, test.num_splits, test.alpha) == (16, 20, 10, 0.1)
    assert (test.grid_search, test.crop_size, test.train_fraction) == (True, 224, [1.0])
    assert validation.datasets == test.datasets == ["live", "csiq", "tid2013", "kadid10k", "flive", "spaq"]


def test_config_yaml_has_every_default_with_its_comment() -> None:
    text = (ROOT / "config.yaml").read_text(encoding="utf-8")
    body = render({name: known.default for name, known in KEYS.items() if not known.required})
    assert text.endswith(f"\n\n{body}")
    assert all(line.startswith("#") for line in text.removesuffix(body).strip().splitlines())
    assert load_config(ROOT / "config.yaml", REQUIRED) == Config.from_dict(REQUIRED)


def test_every_key_has_a_valid_default_and_a_help_text() -> None:
    for known in KEYS.values():
        assert known.help, known.name
        if not known.required:
            assert known.parse(known.default) == known.default


def test_error_for_config_yaml_lists_the_required_keys() -> None:
    message = message_of(ROOT / "config.yaml")
    assert "experiment_name, data_base_path must be set" in message


def test_quickstart_configuration_is_complete() -> None:
    config = load_config(ROOT / "configs" / "quickstart.yaml")
    assert config.training.lr == 5e-4  # written as 5e-4, which YAML 1.1 reads as a string
    assert not config.logging.use_wandb and not config.model.encoder.pretrained
    assert resolve_device(config.device) == torch.device("cpu")


def test_a_file_can_have_only_some_keys(write: Any) -> None:
    config = load_config(write("training: {epochs: 3}\nvalidation:\n"))
    expected = Config.from_dict({**REQUIRED, "training.epochs": 3})
    assert config == expected
    assert config.training.lr == 1e-3


def test_a_file_can_have_dotted_names(write: Any) -> None:
    path = write("training.data.patch_size: 96\nlogging.wandb: {project: iqa}\n")
    config = load_config(path)
    assert (config.training.data.patch_size, config.logging.wandb.project) == (96, "iqa")


def test_options_override_the_file(write: Any) -> None:
    path = write("training: {lr: 0.5, data: {max_distortions: 2}}")
    argv = "--training.data.max_distortions 7 --validation.datasets live csiq --test.grid_search false"
    argv += " --training.optimizer.betas 0.5 0.9 --test.train_fraction 0.1 1 --training.optimizer.eps=1e-3"
    config, arguments = parse_command_line("test", argv=["--config", str(path), *argv.split()])
    assert config.training.lr == 0.5
    assert config.training.data.max_distortions == 7
    assert config.validation.datasets == ["live", "csiq"]
    assert config.test.grid_search is False
    assert config.training.optimizer.betas == [0.5, 0.9]
    assert config.training.optimizer.eps == 1e-3
    assert config.test.train_fraction == [0.1, 1.0] and isinstance(config.test.train_fraction[1], float)
    assert vars(arguments) == {"config": path}


@pytest.mark.parametrize("name", sorted(KEYS))
def test_every_key_is_an_option(write: Any, name: str) -> None:
    """The default of each key, given as an option, is read as the default."""
    known = KEYS[name]
    default = REQUIRED.get(name) if known.required else known.default
    words = [yaml.safe_dump(v).split("\n")[0] for v in (default if known.is_list else [default])]
    path = write("logging.wandb: {online: false, project: a, entity: b}")
    config, _ = parse_command_line("test", argv=["--config", str(path), f"--{name}", *words])
    value: Any = config
    for part in name.split("."):
        value = getattr(value, part)
    assert value == default


def test_null_on_the_command_line_and_in_the_file(write: Any) -> None:
    path = write("training: {lr_scheduler: {name: null}, data: {pristine_path: photos}}")
    assert load_config(path).training.lr_scheduler.name is None
    assert load_config(path).training.data.pristine_path == "photos"
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
    with pytest.raises(UserError, match=r"--eval_type: invalid choice: 'mine'"):
        parse_command_line("test", add, ["--config", path, "--eval_type", "mine"])
    with pytest.raises(UserError, match=r"required: --eval_type"):
        parse_command_line("test", add, ["--config", path])
    with pytest.raises(UserError, match=r"--evaltype: found 'x', .* nearest is eval_type"):
        parse_command_line("test", add, ["--config", path, "--eval_type", "arniqa", "--evaltype", "x"])


UNKNOWN = [
    ("training.data.max_distortion", "training.data.max_distortions (integer in [0, 7])"),
    ("max_distortions", "training.data.max_distortions"),
    ("lr", "training.lr"),
    ("resume", "training.resume_training (true or false)"),
    ("training.patch_size", "training.data.patch_size (integer in [32, 8192])"),
    ("test.n_iter", "validation.visualization.tsne.n_iter"),
    ("traning.epochs", "training.epochs"),
    ("test.gridsearch", "test.grid_search (true or false)"),
    ("optimizer.name", "training.optimizer.name (SGD or Adam or AdamW)"),
]


@pytest.mark.parametrize(("name", "nearest"), UNKNOWN)
def test_unknown_key(write: Any, name: str, nearest: str) -> None:
    in_file = message_of(write(f"{name}: 7\n"))
    assert in_file.startswith(f"{write()}: {name}: found 7, ") and f"nearest is {nearest}" in in_file
    as_option = message_of(write(), f"--{name}", "7", "--training.epochs", "1")
    assert as_option.startswith(f"--{name}: found '7', ") and f"nearest is {nearest}" in as_option
    assert message_of(write(), f"--{name}=7") == as_option


def test_unknown_section(write: Any) -> None:
    assert "trainings.lr: found 1" in message_of(write("trainings: {lr: 1}"))
    assert "trainings: found {}" in message_of(write("trainings: {}"))


WRONG = [
    ("training.epochs", "0", "integer >= 1"),
    ("training.epochs", "2.5", "integer >= 1"),
    ("training.epochs", "true", "integer >= 1"),
    ("training.epochs", "ten", "integer >= 1"),
    ("training.epochs", "null", "integer >= 1"),
    ("training.lr", "0", "number > 0"),
    ("training.lr", "fast", "number > 0"),
    ("training.lr", ".nan", "number > 0"),
    ("training.lr", "nan", "number > 0"),
    ("training.lr", ".inf", "number > 0"),
    ("training.lr", "1e999", "number > 0"),
    ("training.lr", "1" + 400 * "0", "number > 0"),
    ("training.data.max_distortions", "8", "integer in [0, 7]"),
    ("training.data.max_distortions", "-1", "integer in [0, 7]"),
    ("training.data.num_levels", "0", "integer in [1, 5]"),
    ("training.data.num_levels", "6", "integer in [1, 5]"),
    ("training.data.pristine_prob", "1.1", "number in [0, 1]"),
    ("training.optimizer.momentum", "1", "number in [0, 1)"),
    ("training.optimizer.name", "sgd", "SGD or Adam or AdamW"),
    ("training.lr_scheduler.name", "StepLR", "CosineAnnealingWarmRestarts or null"),
    ("training.resume_training", "2", "true or false"),
    ("training.resume_training", "maybe", "true or false"),
    ("seed", "-1", "integer in [0, 4294967295]"),
    ("device", "gpu", "auto, cpu (or -1), GPU number"),
    ("device", "-2", "auto, cpu (or -1), GPU number"),
    ("device", "cuda:x", "auto, cpu (or -1), GPU number"),
    ("experiment_name", "a/b", "folder name"),
    ("experiment_name", "..", "folder name"),
    ("experiment_name", "a" * 101, "folder name of at most 100 characters"),
    ("training.data.patch_size", "10000000", "integer in [32, 8192]"),
]


@pytest.mark.parametrize(("name", "text", "allowed"), WRONG)
def test_wrong_value(tmp_path: Path, name: str, text: str, allowed: str) -> None:
    path = tmp_path / "mine.yaml"
    values = {k: v for k, v in REQUIRED.items() if k != name}
    path.write_text(f"{name}: {text}\n{yaml.safe_dump(values)}", encoding="utf-8")
    in_file = message_of(path)
    assert in_file.startswith(f"{path}: {name}: found ") and f"allowed: {allowed}" in in_file
    assert repr(yaml.safe_load(text)) in in_file
    path.write_text(yaml.safe_dump(REQUIRED), encoding="utf-8")
    word = "" if text == "''" else text
    as_option = message_of(path, f"--{name}", word)
    assert as_option.startswith(f"--{name}: found {word!r}, allowed: {allowed}")


WRONG_IN_FILE = [
    ("validation: {datasets: live}", "validation.datasets: found 'live', allowed: list of one or more folder names"),
    ("test: {datasets: []}", "test.datasets: found []"),
    ("test: {datasets: [live, 7]}", "test.datasets: found ['live', 7]"),
    ("test: {train_fraction: [0.5, 0]}", "allowed: list of one or more: number in (0, 1]"),
    ("training: {optimizer: {betas: [0.9]}}", "allowed: list of 2: number in [0, 1)"),
    ("training: {optimizer: {betas: [0.9, 0.9, 0.9]}}", "allowed: list of 2: number in [0, 1)"),
    ("training: {data: {pristine_path: 7}}", "allowed: text or null"),
    ("training: 7", "training: found 7, allowed: a section with epochs, lr,"),
    ("training: []", "training: found [], allowed: a section with"),
    ("seed: {a: 1}", "seed.a: found 1"),
    ("training: {lr: 1}\ntraining.lr: 2", "training.lr: given twice"),
    ("seed: 1\nseed: 2", "not valid YAML (seed is given twice)"),
    ("test: {alpha: 1, alpha: 2}", "not valid YAML (alpha is given twice)"),
    ("seed: [1", "not valid YAML"),
    ("a: b: c", "line 4: not valid YAML (mapping values are not allowed here)"),
    ("seed: 2026-13-01", "not valid YAML"),
    ("seed: !!python/object/apply:os.getcwd []", "not valid YAML"),
    ("seed: \0", "not valid YAML"),
    ("? [a, b]\n: 1", "not valid YAML"),
]


@pytest.mark.parametrize(("text", "expected"), WRONG_IN_FILE)
def test_wrong_file(write: Any, text: str, expected: str) -> None:
    path = write(text)
    message = message_of(path)
    assert message.startswith(str(path)) and expected in message


def test_error_for_an_unquoted_date_recommends_quotes(write: Any) -> None:
    path = write("experiment_name: 2026-01-01\ndata_base_path: d\n", required=False)
    assert message_of(path).endswith("put the text in quotes")


@pytest.mark.parametrize("text", ["- a\n", "just a text\n", "7\n"])
def test_a_file_that_is_not_a_mapping_is_an_error(write: Any, text: str) -> None:
    assert "allowed: lines of the form 'key: value'" in message_of(write(text, required=False))


def test_error_for_an_empty_file_lists_the_required_keys(write: Any) -> None:
    assert "experiment_name, data_base_path" in message_of(write("", required=False))


def test_a_missing_file_a_folder_and_a_binary_file_are_errors(tmp_path: Path) -> None:
    assert message_of(tmp_path / "no.yaml").startswith(f"{tmp_path / 'no.yaml'}: cannot be read")
    assert message_of(tmp_path) == f"{tmp_path}: is a folder; expected a regular file"
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\x89PNG\r\n\x1a\n\xff\xfe")
    assert "not valid YAML" in message_of(binary)


def test_an_empty_text_counts_as_not_set(write: Any) -> None:
    """As in the published config.yaml, where the command line fills it in."""
    text = 'experiment_name: ""\ndata_base_path: b\nlogging: {wandb: {project: "", entity: ""}}\n'
    path = write(text, required=False)
    assert "experiment_name must be set" in message_of(path)
    assert "--experiment_name: found ''" in message_of(path, "--experiment_name", "")
    config = load_config(path, {"experiment_name": "mine"})
    assert config.experiment_name == "mine"
    assert config.logging.wandb.project is None and config.logging.wandb.entity is None


@pytest.mark.parametrize("word", ["1", "yes", "on", "t", "True", "0", "no", "off", "F", "false"])
def test_booleans_as_the_published_command_line_takes_them(write: Any, word: str) -> None:
    config, _ = parse_command_line("test", argv=["--config", str(write()), "--test.grid_search", word])
    assert config.test.grid_search is (word in ("1", "yes", "on", "t", "True"))


def test_a_dataset_that_is_named_twice_is_refused(write: Any) -> None:
    """It would count twice in the averages."""
    message = message_of(write(), "--test.datasets", "live", "csiq", "live")
    assert "found ['live', 'csiq', 'live'], allowed: list of one or more folder names, no paths, each once" in message


def test_an_anchor_that_refers_to_itself_is_one_line(write: Any) -> None:
    assert "not valid YAML (an anchor refers to itself)" in message_of(write("training: &a {data: *a}\n"))


def test_command_line_mistakes(write: Any) -> None:
    with pytest.raises(UserError, match=r"^the following arguments are required: --config$"):
        parse_command_line("test", argv=[])
    assert message_of(write(), "--training.lr").endswith("expected one argument")
    assert message_of(write(), "stray").startswith("stray: no such argument")
    assert message_of(write(), "--train", "1").startswith("--train: found '1'")  # no abbreviations


def test_a_mistake_gives_a_one_line_message_and_exit_code_2(write: Any, capsys: pytest.CaptureFixture[str]) -> None:
    def command() -> None:
        parse_command_line("test", argv=["--config", str(write()), "--training.epochs", "0"])

    with pytest.raises(SystemExit) as exit_:
        run_command(command)
    assert exit_.value.code == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == "error: --training.epochs: found '0', allowed: integer >= 1\n"


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
    assert "most distortions in a composition; 0 degrades nothing (integer in [0, 7]; default: 4)" in text


TEXTS = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1).filter(str.strip)


@settings(deadline=None)  # each file is written to the disk
@given(
    path=TEXTS.filter(lambda text: text != "null"),
    lr=st.floats(min_value=0, exclude_min=True, allow_infinity=False),
    datasets=st.lists(st.from_regex(NAME, fullmatch=True), min_size=1, unique=True),
    device=st.sampled_from(["auto", -1, 0, 7, "cpu", "cuda", "cuda:1", "mps"]),
    resume=st.booleans(),
)
def test_a_saved_configuration_is_read_unchanged(
    tmp_path_factory: pytest.TempPathFactory,
    path: str,
    lr: float,
    datasets: list[str],
    device: int | str,
    resume: bool,
) -> None:
    file = tmp_path_factory.mktemp("config") / "config.yaml"
    config = Config.from_dict(
        {
            **REQUIRED,
            "data_base_path": path,
            "device": device,
            "training": {"lr": lr, "resume_training": resume, "data": {"pristine_path": path}},
            "test": {"datasets": datasets},
        }
    )
    save_config(config, file)
    assert load_config(file) == config
    assert yaml.safe_load(file.read_text(encoding="utf-8")) == config.to_dict()
    assert Config.from_dict(config.to_dict()) == config


def test_saving_below_a_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        save_config(Config.from_dict(REQUIRED), tmp_path / "file" / "config.yaml")


def test_diff() -> None:
    a = Config.from_dict(REQUIRED)
    b = Config.from_dict({**REQUIRED, "training.lr": 1, "test": {"datasets": ["live"]}, "device": "cpu"})
    assert diff(a, a) == []
    assert diff(a, b) == [
        ("device", "auto", "cpu"),
        ("training.lr", 1e-3, 1.0),
        ("test.datasets", a.test.datasets, ["live"]),
    ]
