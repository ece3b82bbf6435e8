"""A configuration described by typed dataclasses: reading, checking and explaining its keys.

Fields are made with `key` (a value) or `section` (a nested dataclass). Annotations may be bool, int, float,
str, a `Literal` of texts, `list[...]` of these, and unions of them (`str | None`).
"""

import re
import types
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from difflib import SequenceMatcher
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from models.errors import UserError, shorten

T = TypeVar("T")
# As the published command line takes them.
BOOLEANS = {
    **dict.fromkeys(("true", "t", "yes", "y", "on", "1"), True),
    **dict.fromkeys(("false", "f", "no", "n", "off", "0"), False),
}
NOUNS = {bool: "true or false", int: "integer", float: "number", str: "text"}


@dataclass(frozen=True)
class Key:
    """One key of the configuration.

    Attributes:
        name: dotted, as in `training.data.patch_size`.
        type: its annotation in the dataclass.
        default: `dataclasses.MISSING` where it must be set.
        help: its meaning, in a line.
        within: interval of a number or of each number of a list, in the usual notation: "[0, 1)".
        pattern: regular expression that a value, or each value of a list, must match, as text.
        length: number of values in a list, any but none where it is None.
        allowed: says what is allowed where the pattern needs words.
        alias: a second name of the command-line option.
        unique: whether the values of a list must differ.
    """

    name: str
    type: Any
    default: Any
    help: str
    within: str | None = None
    pattern: str | None = None
    length: int | None = None
    allowed: str | None = None
    alias: str | None = None
    unique: bool = False

    @property
    def is_list(self) -> bool:
        return get_origin(self.type) is list

    @property
    def required(self) -> bool:
        return self.default is MISSING

    def describe(self) -> str:
        """Describes what is allowed, for example "integer in [0, 7]"."""
        if self.allowed:
            return self.allowed
        words = _noun(self.type) + (f" {_bounds(self.within)}" if self.within else "")
        words += ", each once" if self.unique else ""
        return f"list of {self.length or 'one or more'}: {words}" if self.is_list else words

    def parse(self, value: Any) -> Any:
        """Converts `value`, from YAML or the text of an option, to the key's type.

        Raises:
            ValueError: it is not of that type, or not in the key's range.
        """
        parsed = _convert(value, self.type)
        values = parsed if isinstance(parsed, list) else [parsed]
        if self.is_list and (not values or self.length not in (None, len(values))):
            raise ValueError("length")
        if self.unique and len(set(values)) < len(values):
            raise ValueError("twice")
        if self.within and not all(v is None or _inside(v, self.within) for v in values):
            raise ValueError("range")
        if self.pattern and not all(re.fullmatch(self.pattern, str(value)) for value in values):
            raise ValueError("pattern")
        return parsed


def key(default: Any = MISSING, help: str = "", **limits: Any) -> Any:
    """A field of a configuration dataclass. Without a default it must be set. `limits`: more attributes of `Key`."""
    metadata = {"help": help, **limits}
    if isinstance(default, list):
        return field(default_factory=lambda: list(default), metadata=metadata)
    return field(default=default, metadata=metadata)


def section(cls: type) -> Any:
    """A field that holds a nested configuration dataclass."""
    return field(default_factory=cls)


def keys_of(cls: type, prefix: str = "") -> dict[str, Key]:
    """Returns the keys of a configuration dataclass and its sections: dotted name -> key, in their order."""
    keys: dict[str, Key] = {}
    hints = get_type_hints(cls)
    for f in fields(cls):
        name = prefix + f.name
        if is_dataclass(hints[f.name]):
            keys |= keys_of(hints[f.name], f"{name}.")
        else:
            default = f.default_factory() if f.default_factory is not MISSING else f.default
            keys[name] = Key(name, hints[f.name], default, **f.metadata)
    return keys


def flatten(values: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yields (dotted name, value) for every entry in nested mappings. An empty mapping is an entry itself."""
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def read(keys: Mapping[str, Key], values: Mapping[Any, Any], where: str) -> dict[str, Any]:
    """Checks the values of nested (or dotted) mappings against `keys`; returns them by dotted name.

    A section may be empty. A key that must be set may be null or "" in a file; `keys.complete` checks it later.
    `where` begins every message: the file and a colon, or the dashes of an option.

    Raises:
        UserError: an unknown key, a key given twice, a wrong type, or a value out of range.
    """
    parsed: dict[str, Any] = {}
    for name, value in flatten(values):
        inner = [k.removeprefix(f"{name}.") for k in keys if k.startswith(f"{name}.")]
        if inner and not value and (value is None or isinstance(value, Mapping)):
            continue
        if inner:
            raise UserError(f"{where}{name}: found {shorten(repr(value))}, allowed: a section with {', '.join(inner)}")
        if name not in keys:
            raise UserError(unknown_key(name, value, keys, where))
        if keys[name].required and (value is None or (value == "" and where != "--")):
            continue
        if name in parsed:
            raise UserError(f"{where}{name}: given twice; once is allowed")
        try:
            parsed[name] = keys[name].parse(value)
        except (ValueError, OverflowError) as error:
            unquoted = keys[name].type is str and value is not None and not isinstance(value, str)
            hint = "; put the text in quotes" if unquoted else ""
            allowed = keys[name].describe()
            raise UserError(f"{where}{name}: found {shorten(repr(value))}, allowed: {allowed}{hint}") from error
    return parsed


def build(cls: type[T], values: Mapping[str, Any], prefix: str = "") -> T:
    """Builds an instance from parsed values by dotted name; absent keys take their defaults."""
    hints = get_type_hints(cls)
    arguments: dict[str, Any] = {}
    for f in fields(cls):  # type: ignore[arg-type]
        name = prefix + f.name
        if is_dataclass(hints[f.name]):
            arguments[f.name] = build(hints[f.name], values, f"{name}.")  # type: ignore[arg-type]
        elif name in values:
            arguments[f.name] = values[name]
    return cls(**arguments)


def unknown_key(name: str, value: Any, keys: Mapping[str, Key | None], where: str) -> str:
    """Formats an error about an unknown key: its value and the most similar key.

    Similarity counts the whole names and their last parts, so that a key without its section is found too.
    """

    def similarity(other: str) -> float:
        last = SequenceMatcher(None, name.rsplit(".", 1)[-1], other.rsplit(".", 1)[-1]).ratio()
        return SequenceMatcher(None, name, other).ratio() + last

    nearest = max(keys, key=similarity)
    known = keys[nearest]
    allowed = f" ({known.describe()})" if known else ""
    found = shorten(repr(value))
    return f"{where}{shorten(name)}: found {found}, but there is no such key; the nearest is {nearest}{allowed}"


def _convert(value: Any, kind: Any) -> Any:
    """Converts `value`, of that type or text, to `kind`; raises ValueError if it is neither."""
    origin, options = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        if type(None) in options and value in (None, "null", ""):
            return None
        return _first(value, [option for option in options if option is not type(None)])
    if origin is list:
        if not isinstance(value, list):
            raise ValueError("not a list")
        return [_convert(item, options[0]) for item in value]
    if origin is Literal:
        if value not in options:
            raise ValueError("not one of the choices")
        return value
    if kind is bool:
        if str(value).lower() not in BOOLEANS:
            raise ValueError("not true or false")
        return BOOLEANS[str(value).lower()]
    if kind is str:
        if not isinstance(value, str) or not value.strip() or re.search(r"[\x00-\x1f\x7f]", value):
            raise ValueError("not a text on one line")
        return value
    # Numbers may come as text: command-line values are text, and YAML 1.1 reads 1e-3 as text.
    if isinstance(value, bool) or not isinstance(value, (int, str) if kind is int else (int, float, str)):
        raise ValueError("not a number of this kind")
    return kind(value)


def _first(value: Any, kinds: list[Any]) -> Any:
    """Converts `value` to the first of these types that accepts it."""
    *others, last = kinds
    for kind in others:
        try:
            return _convert(value, kind)
        except ValueError:
            continue
    return _convert(value, last)


def _noun(kind: Any) -> str:
    origin, options = get_origin(kind), get_args(kind)
    if origin is list:
        return _noun(options[0])
    if origin is Literal:
        return " or ".join([", ".join(options[:-1]), options[-1]]) if len(options) > 1 else options[0]
    if origin in (Union, types.UnionType):
        return " or ".join("null" if option is type(None) else _noun(option) for option in options)
    return NOUNS[kind]


def _inside(value: float, interval: str) -> bool:
    """Whether the value is in an interval such as "(0, 1]"; NaN is in none."""
    low, high = (float(bound) for bound in interval[1:-1].split(","))
    above = low <= value if interval[0] == "[" else low < value
    below = value <= high if interval[-1] == "]" else value < high
    return above and below


def _bounds(interval: str) -> str:
    """Describes an interval: "in [0, 7]", or "> 0" if it has no upper end."""
    low, high = interval[1:-1].split(", ")
    if high != "inf":
        return f"in {interval}"
    return f"{'>=' if interval[0] == '[' else '>'} {low}"
