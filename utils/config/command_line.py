"""The command line: `--config FILE`, and every key of the configuration as an option."""

import argparse
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from itertools import takewhile
from pathlib import Path
from typing import NoReturn

from models.errors import UserError
from utils.config.keys import KEYS, Config
from utils.config.schema import Key, unknown_key
from utils.config.yaml_file import load_config, yaml_text


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
    parser = OneLineParser(
        description=description,
        usage="%(prog)s --config FILE [--KEY VALUE ...]",
        epilog="An option replaces the value in the file. A key that neither gives has its default.",
        allow_abbrev=False,
    )
    parser.add_argument("--config", type=nonempty_path, required=True, metavar="FILE", help="path of the YAML file")
    if add_arguments:
        add_arguments(parser)
    _add_keys(parser)
    arguments, unknown = parser.parse_known_args(argv)
    given = vars(arguments)
    overrides = {name: given.pop(name) for name in list(given) if name in KEYS}
    if unknown:
        raise UserError(_unknown_argument(unknown, {**KEYS, **dict.fromkeys(given)}))
    return load_config(arguments.config, overrides), arguments


class OneLineParser(argparse.ArgumentParser):
    """Parser that reports mistakes as a one-line `UserError`; argparse would also print its usage."""

    def error(self, message: str) -> NoReturn:
        raise UserError(message)


def nonempty_path(text: str) -> Path:
    """Option type for a path: expands `~` and rejects an empty one (the current folder)."""
    if not text.strip():
        raise argparse.ArgumentTypeError("is empty; give a path")
    return Path(text).expanduser()


def integer(low: int, high: int) -> Callable[[str], int]:
    """Returns an option type for integers in [low, high]."""

    def parse(text: str) -> int:
        if not re.fullmatch(r"-?\d+", text) or not low <= int(text) <= high:
            raise argparse.ArgumentTypeError(f"found {text!r}; allowed: integer in [{low}, {high}]")
        return int(text)

    return parse


def _add_keys(parser: argparse.ArgumentParser) -> None:
    """Adds an option for every key, grouped by section. Options not given are absent from the namespace."""
    others = parser.add_argument_group("keys")
    sections = [f.name for f in fields(Config) if f.name not in KEYS]
    groups = {name: parser.add_argument_group(name) for name in sections}
    for name, known in KEYS.items():
        default = "must be set" if known.required else f"default: {yaml_text(known.default)}"
        groups.get(name.partition(".")[0], others).add_argument(
            *[f"--{option}" for option in (name, known.alias) if option],
            dest=name,
            nargs="+" if known.is_list else None,
            default=argparse.SUPPRESS,
            metavar="VALUE",
            help=f"{known.help} ({known.describe()}; {default})".replace("%", "%%"),
        )


def _unknown_argument(unknown: Sequence[str], known: Mapping[str, Key | None]) -> str:
    """Formats an error about the first unknown argument."""
    option, *rest = unknown
    if not option.startswith("-"):
        return f"{option}: no such argument; options are written --KEY VALUE, and --help lists all"
    name, equals, value = option.lstrip("-").partition("=")
    values = [value] if equals else takewhile(lambda word: not word.startswith("--"), rest)
    return unknown_key(name, " ".join(values), known, "--")
