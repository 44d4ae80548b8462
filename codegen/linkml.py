"""Reading LinkML: opening a schema, and its values as plain Python ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NoReturn

import yaml
from jsonasobj2 import JsonObj
from linkml_runtime.utils.schemaview import SchemaView

from codegen.errors import Problem, SchemaError, Where

__all__ = ["annotations_of", "files_of_elements", "is_set", "one_line", "open_schema"]


def open_schema(path: Path) -> SchemaView:
    """The schema with all its imports; SchemaError if a file is missing, no YAML, or not LinkML."""
    try:
        view = SchemaView(path)
        view.imports_closure()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        file = Path(mark.name).name if mark else path.name
        _fail(Where(file=file), f"not YAML{place}: {error.problem}", error)
    except FileNotFoundError as error:
        missing = Path(error.filename).name if error.filename else path.name
        _fail(Where(file=path.name), f"file {missing!r} does not exist", error)
    except (TypeError, ValueError, AttributeError) as error:
        # linkml-runtime reports an unknown or ill-typed key of its metamodel with any of these.
        _fail(Where(file=path.name), f"not valid LinkML: {str(error).strip()}", error)
    return view


def _fail(where: Where, message: str, cause: Exception) -> NoReturn:
    raise SchemaError((Problem(where=where, message=message),)) from cause


def is_set(value: object) -> bool:
    """Whether a LinkML slot was given; what was left out is None, False, or empty (as an own type on induced slots)."""
    return bool(_plain(value))


def one_line(value: object) -> str:
    """LinkML's text on one line: folded YAML keeps line breaks that mean nothing here."""
    return " ".join(str(value or "").split())


def _plain(value: object) -> object:
    """A LinkML value in plain Python types: LinkML wraps text and numbers, and on induced slots mappings too."""
    if isinstance(value, str):
        return str(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return int(value)
    if isinstance(value, JsonObj):
        return {key: _plain(item) for key, item in vars(value).items() if not key.startswith("_")}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value


def annotations_of(element: object) -> dict[str, object]:
    """The annotations of an element, name -> value."""
    annotations = _plain(getattr(element, "annotations", None) or {})
    if not isinstance(annotations, dict):
        return {}
    return {name: item["value"] if isinstance(item, dict) else item for name, item in annotations.items()}


def files_of_elements(view: SchemaView, path: Path) -> Iterator[tuple[str, str]]:
    """Which file defines each class, slot, type and enum."""
    for schema in view.schema_map.values():
        file = Path(str(schema.source_file or path)).name
        for elements in (schema.slots, schema.types, schema.enums, schema.classes):
            for name in elements:
                yield str(name), file
