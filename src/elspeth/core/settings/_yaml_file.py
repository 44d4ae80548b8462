"""Reads a YAML file as plain data."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from elspeth.contracts.schema import MAX_INTEGER
from elspeth.core.settings.problems import Location, Problem, SettingsError

__all__ = ["GIVEN", "PlainValue", "read_settings_file", "read_settings_mapping", "read_value", "text_problems"]

GIVEN = "settings"
"""The name of settings that do not come from a file."""

PlainValue = dict[str, "PlainValue"] | list["PlainValue"] | str | int | float | bool | None

_MAX_BYTES = 1_048_576
_MAX_DEPTH = 50
_MAX_VALUES = 100_000  # aliases and merges can make a small file arbitrarily large

_NOT_TEXT = re.compile("[\0\ud800-\udfff]")
_MERGE = "tag:yaml.org,2002:merge"
_BITS = 256  # of the largest integer that a message repeats


def read_settings_file(path: Path) -> dict[str, PlainValue]:
    """Return the mapping in a YAML file, with text keys.

    Raises SettingsError if there is no such mapping.
    """
    text = _read_text(path)
    try:
        document = yaml.load(text, Loader=_StrictLoader)  # noqa: S506  a subclass of the safe loader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise _file_error(path, f"is not valid YAML{where}: {error.problem or error.context}") from error
    except yaml.YAMLError as error:
        raise _file_error(path, f"is not valid YAML: {str(error).splitlines()[0]}") from error
    except (RecursionError, ValueError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else error
        raise _file_error(path, f"is not valid YAML: {reason}") from error
    if document is None:
        raise _file_error(path, "is empty: expected at least sources and sinks, or datasource, sinks and output_sink")
    if not isinstance(document, dict):
        raise _file_error(path, f"expected a mapping of settings, got {_describe(document)}")
    plain = _PlainReader()
    tree = plain.mapping(document, ())
    if plain.problems:
        raise SettingsError(str(path), list(plain.problems))
    return tree


def read_settings_mapping(settings: Mapping[str, object]) -> dict[str, PlainValue]:
    """Return a Python mapping as if read from a file.

    Paths become text. Raises SettingsError for values that no file could hold.
    """
    plain = _PlainReader()
    tree = plain.mapping(settings, ())
    if plain.problems:
        raise SettingsError(GIVEN, list(plain.problems))
    return tree


def read_value(text: str) -> PlainValue:
    """Return the YAML value in a text.

    Raises ValueError if it is not a value of settings.
    """
    try:
        document = yaml.load(text, Loader=_StrictLoader)  # noqa: S506  a subclass of the safe loader
    except (yaml.YAMLError, RecursionError) as error:
        problem = getattr(error, "problem", None) or "nested too deeply"
        raise ValueError(f"is not valid YAML: {problem}") from error
    plain = _PlainReader()
    value = plain.value(document, ())
    for each in plain.problems:
        raise ValueError(each.message)
    return value


def text_problems(tree: PlainValue, location: Location = ()) -> Iterator[Problem]:
    """Yield texts with NUL characters or lone surrogates.

    Lone surrogates stand for bytes that are not UTF-8.
    """
    match tree:
        case dict():
            for key, value in tree.items():
                yield from text_problems(value, (*location, key))
        case list():
            for index, value in enumerate(tree):
                yield from text_problems(value, (*location, index))
        case str() if _NOT_TEXT.search(tree):
            yield Problem(location=location, message="expected text, got a NUL character or a lone surrogate in it")


def _read_text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise _file_error(path, f"cannot be read: {error.strerror}") from error
    if len(content) > _MAX_BYTES:
        raise _file_error(path, f"is too large for a settings file: expected at most {_MAX_BYTES} bytes")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise _file_error(path, f"is not UTF-8 text: byte 0x{content[error.start]:02x} in line {line}") from error
    if "\0" in text:
        raise _file_error(path, "is not text: it contains NUL bytes")
    return text


def _file_error(path: Path, message: str) -> SettingsError:
    return SettingsError(str(path), [Problem(location=(), message=message)])


@dataclass(frozen=True, slots=True, kw_only=True)
class _NotJson:
    """A plain scalar of a type that JSON lacks."""

    text: str
    what: str

    def __str__(self) -> str:
        return self.text


class _StrictLoader(yaml.SafeLoader):
    """YAML's safe subset without surprises.

    It refuses repeated keys, endless merges, numbers in base 60, and dates.
    """

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._flattened: set[int] = set()
        self._merged = 0

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Merge other mappings into this one, within limits.

        PyYAML calls this before it constructs the mapping, and before it merges the mapping into another.
        """
        if id(node) in self._flattened:
            return
        self._flattened.add(id(node))
        self._refuse_repeated_keys(node)
        for mapping in _merged_into(node):
            self.flatten_mapping(mapping)
            self._merged += len(mapping.value)
            if self._merged > _MAX_VALUES:
                problem = f"too large: expected at most {_MAX_VALUES} merged keys"
                raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark)
        super().flatten_mapping(node)

    def _refuse_repeated_keys(self, node: yaml.MappingNode) -> None:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == _MERGE:
                continue
            name = _key_text(self.construct_object(key))
            if name in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key {name!r} occurs twice", key.start_mark)
            seen.add(name)

    def construct_plain(self, node: yaml.ScalarNode) -> object:
        """Return a number or truth value, `_NotJson` otherwise."""
        text = str(self.construct_scalar(node))
        try:
            if ":" in text:
                return _NotJson(text=text, what="a number in base 60")
            value = _CONSTRUCTORS[node.tag](self, node)
        except (ValueError, LookupError, OverflowError):
            return _NotJson(text=text, what="a number or truth value that cannot be read")
        is_long = isinstance(value, int) and value.bit_length() > _BITS
        return _NotJson(text=text, what="an integer with too many digits") if is_long else value

    def construct_timestamp(self, node: yaml.ScalarNode) -> object:
        """Return `_NotJson` for a date, whether it exists or not."""
        return _NotJson(text=str(self.construct_scalar(node)), what="a date")


_CONSTRUCTORS: Mapping[str, Callable[[yaml.SafeLoader, yaml.ScalarNode], object]] = {
    "tag:yaml.org,2002:int": yaml.SafeLoader.construct_yaml_int,
    "tag:yaml.org,2002:float": yaml.SafeLoader.construct_yaml_float,
    "tag:yaml.org,2002:bool": yaml.SafeLoader.construct_yaml_bool,
}

for _tag in _CONSTRUCTORS:
    _StrictLoader.add_constructor(_tag, _StrictLoader.construct_plain)
_StrictLoader.add_constructor("tag:yaml.org,2002:timestamp", _StrictLoader.construct_timestamp)


def _merged_into(node: yaml.MappingNode) -> Iterator[yaml.MappingNode]:
    """Yield the mappings that a mapping merges, some repeatedly."""
    for key, value in node.value:
        if key.tag == _MERGE:
            found = value.value if isinstance(value, yaml.SequenceNode) else [value]
            yield from (each for each in found if isinstance(each, yaml.MappingNode))


class _PlainReader:
    """Converts values of YAML or Python to JSON values.

    Problems are collected.
    """

    def __init__(self) -> None:
        self.problems: dict[Problem, None] = {}
        self._values = 0

    def mapping(self, value: Mapping[Any, object], location: Location) -> dict[str, PlainValue]:
        return {name: self.value(item, (*location, name)) for key, item in value.items() for name in [_key_text(key)]}

    def value(self, value: object, location: Location) -> PlainValue:
        self._values += 1
        match value:
            case _ if self._values > _MAX_VALUES:
                self._report((), f"is too large: expected at most {_MAX_VALUES} values, aliases included")
            case Mapping() | list() | tuple() if len(location) > _MAX_DEPTH:
                self._report(location[:3], f"is nested deeper than {_MAX_DEPTH} levels, or contains itself")
            case Mapping():
                return self.mapping(value, location)
            case list() | tuple():
                return [self.value(item, (*location, index)) for index, item in enumerate(value)]
            case float() if not math.isfinite(value):
                self._report(location, f"expected a finite number, got {value}")
            case int() if abs(value) > MAX_INTEGER:
                self._report(location, f"expected an integer of at most {MAX_INTEGER}, got {value}; quote it")
            case None | bool() | int() | float() | str():
                return value
            case Path():
                return str(value)
            case _:
                self._report(
                    location, f"expected text, a number, true, false or null, got {_describe(value)}; quote it"
                )
        return None

    def _report(self, location: Location, message: str) -> None:
        self.problems[Problem(location=location, message=message)] = None


def _key_text(key: object) -> str:
    """Return a key as text.

    YAML reads an unquoted true or 1 as a boolean or number, even in a key such as a route's label.
    """
    if isinstance(key, bool):
        return "true" if key else "false"
    return "null" if key is None else str(key)


def _describe(value: object) -> str:
    match value:
        case list():
            return "a list"
        case dict():
            return "a mapping"
        case str():
            return "text"
        case bool():
            return "true or false"
        case int() | float():
            return "a number"
        case _NotJson():
            return value.what
        case _:
            return f"a value of type {type(value).__name__}"
