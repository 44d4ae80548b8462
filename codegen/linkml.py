"""Access to LinkML: schemas, and their values as plain Python."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import yaml
from jsonasobj2 import JsonObj
from linkml_runtime.utils.schemaview import SchemaView

from codegen.errors import Problem, SchemaError, Where

__all__ = ["annotations_of", "one_line", "open_schema"]


def open_schema(path: Path) -> SchemaView:
    """Open the schema with all its imports.

    Raises SchemaError for a value that LinkML refuses, such as a malformed URI.
    """
    try:
        view = SchemaView(path)
        view.imports_closure()
    except (TypeError, ValueError, AttributeError, yaml.YAMLError) as error:
        # linkml-runtime raises any of these for a value of the wrong type, seldom with its place.
        problem = Problem(where=Where(file=path.name), message=f"not valid LinkML: {one_line(error)}")
        raise SchemaError((problem,)) from error
    return view


def one_line(value: object) -> str:
    """Put LinkML's text on one line.

    Line breaks of folded YAML have no meaning in the schema.
    """
    return " ".join(str(value or "").split())


def _plain(value: object) -> object:
    """Return a LinkML value in plain Python types.

    LinkML wraps text and numbers, and in induced slots also mappings.
    """
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
    """Return the annotations of an element, name -> value."""
    annotations = _plain(getattr(element, "annotations", None) or {})
    if not isinstance(annotations, dict):
        return {}
    return {name: item["value"] if isinstance(item, dict) else item for name, item in annotations.items()}
