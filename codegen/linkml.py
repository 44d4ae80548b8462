"""Reading LinkML: opening a schema, and its values as plain Python ones."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import yaml
from jsonasobj2 import JsonObj
from linkml_runtime.utils.schemaview import SchemaView

from codegen.errors import Problem, SchemaError, Where

__all__ = ["annotations_of", "one_line", "open_schema"]


def open_schema(path: Path) -> SchemaView:
    """The schema with all its imports; SchemaError for a value that LinkML refuses, such as a malformed URI."""
    try:
        view = SchemaView(path)
        view.imports_closure()
    except (TypeError, ValueError, AttributeError, yaml.YAMLError) as error:
        # linkml-runtime reports an ill-typed value with any of these, and seldom says where it stands.
        problem = Problem(where=Where(file=path.name), message=f"not valid LinkML: {one_line(error)}")
        raise SchemaError((problem,)) from error
    return view


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
