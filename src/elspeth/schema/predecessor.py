"""The predecessor's tables, as a chain of differences."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from elspeth.schema.snapshots import TableSnapshot, parse_table, without_defaults

__all__ = ["Shape", "parse_shapes", "shapes_to_text"]

_COMMENT = "Printed by codegen.predecessor from databases of the predecessor. Do not edit."

_COLLECTIONS = ("columns", "foreign_keys", "uniques", "checks", "indexes")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """The tables that versions of the predecessor created.

    `date` (ISO 8601) is the day of its first commit, `releases` names the releases that are known to have it, and
    `user_version` is what SQLite databases of it say in their header.
    """

    date: str
    releases: tuple[str, ...]
    user_version: int
    tables: tuple[TableSnapshot, ...]

    @property
    def columns(self) -> int:
        """Return the number of columns of all tables."""
        return sum(len(table.columns) for table in self.tables)

    @property
    def name(self) -> str:
        """Return a name that no other shape has."""
        releases = f", in {', '.join(self.releases)}" if self.releases else ""
        return f"{self.date} ({len(self.tables)} tables, {self.columns} columns{releases})"


def parse_shapes(text: str) -> tuple[Shape, ...]:
    """Return the shapes in a file's text, oldest first."""
    tables: dict[str, dict[str, Any]] = {}
    shapes = []
    for entry in json.loads(text)["shapes"]:
        for change in entry["changes"]:
            _apply(tables, change)
        shapes.append(
            Shape(
                date=entry["date"],
                releases=tuple(entry.get("releases", ())),
                user_version=entry.get("user_version", 0),
                tables=tuple(parse_table({"name": name, **table}) for name, table in sorted(tables.items())),
            )
        )
    return tuple(shapes)


def shapes_to_text(shapes: Iterable[Shape]) -> str:
    """Return the file of the shapes.

    Each changed column, key and constraint is a line.
    """
    entries = []
    before: Mapping[str, dict[str, Any]] = {}
    for shape in shapes:
        after = {table.name: _content(table) for table in shape.tables}
        head = {"date": shape.date, "releases": shape.releases, "user_version": shape.user_version}
        said = ", ".join(f'"{key}": {json.dumps(value)}' for key, value in head.items() if value)
        changes = ",\n    ".join(json.dumps(change) for change in _changes(before, after))
        entries.append(f'  {{{said}, "changes": [\n    {changes}]}}')
        before = after
    lines = ",\n".join(entries)
    return f'{{"$comment": "{_COMMENT}",\n"shapes": [\n{lines}\n]}}\n'


def _content(table: TableSnapshot) -> dict[str, Any]:
    content: dict[str, Any] = {kind: [without_defaults(item) for item in asdict(table)[kind]] for kind in _COLLECTIONS}
    if table.primary_key is not None:
        content["primary_key"] = without_defaults(asdict(table.primary_key))
    return content


def _changes(before: Mapping[str, dict[str, Any]], after: Mapping[str, dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield the differences: what tables gain or lose."""
    for table in sorted({*before, *after}):
        if table not in after:
            yield {"table": table, "remove": "table"}
            continue
        old, new = before.get(table, {}), after[table]
        for kind in _COLLECTIONS:
            gone = [item for item in old.get(kind, ()) if item not in new[kind]]
            come = [item for item in new[kind] if item not in old.get(kind, ())]
            yield from ({"table": table, "remove": kind, "item": item} for item in gone)
            yield from ({"table": table, "add": kind, "item": item} for item in come)
        if old.get("primary_key") != new.get("primary_key"):
            yield {"table": table, "primary_key": new.get("primary_key")}


def _apply(tables: dict[str, dict[str, Any]], change: Mapping[str, Any]) -> None:
    name = change["table"]
    if change.get("remove") == "table":
        del tables[name]
        return
    table = tables.setdefault(name, {kind: [] for kind in _COLLECTIONS})
    if "add" in change:
        table[change["add"]] = [*table[change["add"]], change["item"]]
    elif "remove" in change:
        table[change["remove"]] = [item for item in table[change["remove"]] if item != change["item"]]
    else:
        tables[name] = {**table, "primary_key": change["primary_key"]}
