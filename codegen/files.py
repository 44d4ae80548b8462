"""The schema's files as parsed YAML, before LinkML resolves them."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from codegen.errors import Problem, SchemaError, Where

__all__ = ["SchemaFile", "read_files"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaFile:
    """One file of the schema: its name and parsed content."""

    name: str
    content: Mapping[str, object]

    def section(self, key: str) -> Mapping[str, object]:
        """Return the mapping below the key, empty by default."""
        value = self.content.get(key)
        return value if isinstance(value, Mapping) else {}


def read_files(path: Path) -> tuple[SchemaFile, ...]:
    """Read the file at `path` and all files it imports.

    The file itself comes first. Raises SchemaError with every file that is missing, not YAML, or has a duplicate key.
    """
    files: dict[Path, SchemaFile] = {}
    problems: list[Problem] = []
    waiting = [(path, path.name, "does not exist")]
    while waiting:
        file, importer, missing = waiting.pop(0)
        if file in files:
            continue
        if not file.is_file():
            problems.append(Problem(where=Where(file=importer), message=missing))
            continue
        try:
            content = yaml.load(file.read_bytes(), _Loader)  # noqa: S506 - derives from SafeLoader
        except yaml.YAMLError as error:
            problems.append(Problem(where=Where(file=file.name), message=_complaint(error)))
            continue
        if not isinstance(content, dict):
            problems.append(Problem(where=Where(file=file.name), message=f"expected a mapping, got {content!r}"))
            continue
        files[file] = SchemaFile(name=file.name, content=content)
        imports = content.get("imports")
        for name in imports if isinstance(imports, list) else []:
            imported = file.parent / f"{name}.yaml"
            waiting.append((imported, file.name, f"imports {name!r}, but file {imported.name!r} does not exist"))
    if problems:
        raise SchemaError(tuple(problems))
    return tuple(files.values())


class _Loader(yaml.SafeLoader):
    """A YAML loader that refuses duplicate keys.

    YAML itself would silently keep the last one.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:  # noqa: FBT001, FBT002 - as inherited
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    problem=f"key {key.value!r} occurs twice", problem_mark=key.start_mark
                )
            seen.add(str(key.value))
        return super().construct_mapping(node, deep)


def _complaint(error: yaml.YAMLError) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        return f"line {mark.line + 1}, column {mark.column + 1}: {error.problem}"
    return f"not YAML: {' '.join(str(error).split())}"
