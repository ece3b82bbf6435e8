"""Reads the configuration's file, and writes it with every key explained."""

import sys
from collections.abc import Hashable, Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from models.errors import UserError, shorten
from models.files import parsing, write_text
from utils.config.keys import KEYS, Config, complete
from utils.config.schema import flatten, read
from utils.runtime.distributed import is_rank0

UNUSED = {  # keys in the files that the published code saves: sections -> name
    (): "checkpoint_base_path",
    ("logging", "wandb"): "run_id",
}


def load_config(path: str | Path, overrides: Mapping[str, Any] | Iterable[tuple[str, Any]] = ()) -> Config:
    """Reads a YAML file; absent keys take their defaults, and `UNUSED` ones are ignored with a line.

    Args:
        path: of the file.
        overrides: values by dotted name, which replace the file's; texts are converted to the key's type.

    Raises:
        UserError: the file is missing or not YAML; a key is unknown, given twice, of the wrong type, out of
            range, or must be set and is not.
    """
    with parsing(Path(path), "a valid configuration"):
        content = read_yaml(Path(path))
        _remove_unused(content, str(path))
        values = read(KEYS, content, f"{path}: ")
    return complete(values | read(KEYS, dict(overrides), "--"), f"{path}: ")


def save_config(config: Config, path: str | Path) -> None:
    """Writes every key with its meaning as a comment; `load_config` gives the same configuration back.

    Raises:
        UserError: the file cannot be written.
    """
    write_text(Path(path), config_as_text(dict(flatten(config.to_dict()))))


def config_as_text(values: Mapping[str, Any]) -> str:
    """Formats values by dotted name as YAML with a comment for every key; a key without a value is null."""
    lines: list[str] = []
    above: list[str] = []
    for name, known in KEYS.items():
        *sections, last = name.split(".")
        for depth, title in enumerate(sections):
            if sections[: depth + 1] != above[: depth + 1]:
                lines += [*([""] if depth == 0 else []), f"{'  ' * depth}{title}:"]
        above = sections
        line = f"{'  ' * len(sections)}{last}: {yaml_text(values.get(name))}"
        must = "; must be set" if known.required else ""
        lines.append(f"{line:<36}  # {known.help} ({known.describe()}{must})")
    return "\n".join(lines) + "\n"


def yaml_text(value: Any) -> str:
    """Formats a value as YAML on one line."""
    text = yaml.safe_dump(value, default_flow_style=True, width=float("inf"), allow_unicode=True)
    return text.splitlines()[0]


def _remove_unused(content: dict[Any, Any], path: str) -> None:
    """Removes the keys in `UNUSED` and names them in one line."""
    found = []
    for sections, name in UNUSED.items():
        section: Any = content
        for key in sections:
            section = section.get(key) if isinstance(section, dict) else None
        if isinstance(section, dict) and name in section:
            found.append(f"{'.'.join([*sections, name])} ({shorten(repr(section.pop(name)))})")
    if found and is_rank0():
        verb = "is" if len(found) == 1 else "are"
        print(f"{path}: {', '.join(found)} {verb} not used; checkpoints are in experiments/", file=sys.stderr)


class _Loader(yaml.SafeLoader):
    """YAML loader that rejects repeated keys; PyYAML silently takes the last one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key_node, _ in node.value:
            name = str(key_node.value)
            if name in seen:
                raise yaml.MarkedYAMLError(problem=f"{name} is given twice", problem_mark=key_node.start_mark)
            seen.add(name)
        return super().construct_mapping(node, deep)


def read_yaml(path: Path) -> dict[Any, Any]:
    """Reads a YAML file of keys and values.

    Raises:
        UserError: the file cannot be read, is not YAML or something else than keys and values, or has a key twice.
    """
    with parsing(path, "valid YAML"):
        try:
            content = yaml.load(path.read_bytes(), _Loader)
        except yaml.MarkedYAMLError as error:
            line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
            raise UserError(f"{path}{line}: not valid YAML ({error.problem})") from error
    if not isinstance(content, dict | None):
        raise UserError(f"{path}: found {type(content).__name__}, allowed: lines of the form 'key: value'")
    return content or {}
