"""Reading the settings file: YAML to plain data, with one clear message for whatever is in the way."""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Hashable
from pathlib import Path

import yaml

from elspeth.contracts.schema import MAX_INTEGER
from elspeth.core.settings.problems import Location, Problem, SettingsError

__all__ = ["Plain", "read_settings_file"]

Plain = dict[str, "Plain"] | list["Plain"] | str | int | float | bool | None

MAX_BYTES = 1_048_576
MAX_DEPTH = 50
MAX_VALUES = 100_000  # aliases make a small file arbitrarily large


def read_settings_file(path: Path) -> dict[str, Plain]:
    """The mapping in a YAML file, every key text; SettingsError when there is none."""
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
        raise _file_error(path, "is empty: expected at least datasource, sinks and output_sink")
    if not isinstance(document, dict):
        raise _file_error(path, f"expected a mapping of settings, got {_kind(document)}")
    plain = _Plainer()
    tree = plain.mapping(document, ())
    if plain.problems:
        raise SettingsError(str(path), list(plain.problems))
    return tree


def _read_text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise _file_error(path, f"cannot be read: {error.strerror}") from error
    if len(content) > MAX_BYTES:
        raise _file_error(path, f"is too large for a settings file: expected at most {MAX_BYTES} bytes")
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


class _StrictLoader(yaml.SafeLoader):
    """YAML's safe subset, in which a key that occurs twice in a mapping is an error instead of lost."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, object]:  # noqa: FBT001, FBT002
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag == "tag:yaml.org,2002:merge":
                continue
            name = _key(self.construct_object(key))
            if name in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key {name!r} occurs twice", key.start_mark)
            seen.add(name)
        return super().construct_mapping(node, deep)


class _Plainer:
    """Reduces what YAML can express to what JSON can, collecting what does not fit."""

    def __init__(self) -> None:
        self.problems: dict[Problem, None] = {}
        self._values = 0

    def mapping(self, value: dict[object, object], location: Location) -> dict[str, Plain]:
        return {name: self.value(item, (*location, name)) for key, item in value.items() for name in [_key(key)]}

    def value(self, value: object, location: Location) -> Plain:
        self._values += 1
        match value:
            case _ if self._values > MAX_VALUES:
                self._report((), f"is too large: expected at most {MAX_VALUES} values, aliases included")
            case dict() | list() if len(location) > MAX_DEPTH:
                self._report(location[:3], f"is nested deeper than {MAX_DEPTH} levels, or contains itself")
            case dict():
                return self.mapping(value, location)
            case list():
                return [self.value(item, (*location, index)) for index, item in enumerate(value)]
            case float() if not math.isfinite(value):
                self._report(location, f"expected a finite number, got {value}")
            case int() if abs(value) > MAX_INTEGER:
                self._report(location, f"expected an integer of at most {MAX_INTEGER}, got {str(value)[:20]}; quote it")
            case None | bool() | int() | float() | str():
                return value
            case _:
                self._report(location, f"expected text, a number, true, false or null, got {_kind(value)}; quote it")
        return None

    def _report(self, location: Location, message: str) -> None:
        self.problems[Problem(location=location, message=message)] = None


def _key(key: object) -> str:
    """YAML reads an unquoted true or 1 as a value, also where it is a key such as a route's label."""
    if isinstance(key, bool):
        return "true" if key else "false"
    return "null" if key is None else str(key)


def _kind(value: object) -> str:
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
        case dt.date():
            return "a date"
        case _:
            return f"a value of type {type(value).__name__}"
