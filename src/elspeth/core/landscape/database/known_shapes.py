"""The known shapes of the predecessor's databases."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from sqlalchemy import Connection, MetaData

from elspeth.core.landscape.database.shapes import compare_columns, compare_shapes, expected_shapes, read_shapes
from elspeth.core.landscape.database.tables import snapshot_tables
from elspeth.schema.predecessor import Shape, parse_shapes
from elspeth.schema.snapshots import Snapshot

__all__ = ["Resemblance", "known_shapes", "nearest_shape", "shape_tables"]

_COMPARED = 4
"""How many shapes are compared in full, by the columns that they have in common with a database."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resemblance:
    """A known shape, with a database's differences from it.

    Each is a sentence. `columns` are differences of tables, columns and primary keys, `others` those of constraints and
    indexes. Without the former it is a database of that shape: versions in between changed indexes and checks, and so
    do administrators.
    """

    shape: Shape
    columns: tuple[str, ...]
    others: tuple[str, ...]

    @property
    def is_known(self) -> bool:
        """Return whether tables and columns are those of the shape."""
        return not self.columns


@cache
def known_shapes() -> tuple[Shape, ...]:
    """Return all known shapes, oldest first."""
    text = files("elspeth.schema").joinpath("predecessor.json").read_text(encoding="utf-8")
    return parse_shapes(text)


def shape_tables(name: str) -> MetaData:
    """Return the tables of the shape of that name."""
    (shape,) = (each for each in known_shapes() if each.name == name)
    return snapshot_tables(Snapshot(epoch=0, tables=shape.tables))


def nearest_shape(connection: Connection, names: frozenset[str]) -> Resemblance:
    """Return the known shape nearest to a database.

    `names` are the database's tables.
    """
    found = read_shapes(connection, {table.name for shape in known_shapes() for table in shape.tables})
    columns = {(name, column) for name, table in found.items() for column in table.columns}
    candidates = sorted(known_shapes(), key=lambda shape: len(columns ^ _columns(shape)))[:_COMPARED]
    return min(
        (_compare(connection, shape, names) for shape in candidates),
        key=lambda each: (len(each.columns), len(each.others)),
    )


def _columns(shape: Shape) -> set[tuple[str, str]]:
    return {(table.name, column.name) for table in shape.tables for column in table.columns}


def _compare(connection: Connection, shape: Shape, names: frozenset[str]) -> Resemblance:
    expected = expected_shapes(shape_tables(shape.name), connection.dialect)
    found = read_shapes(connection, expected)
    unknown = [f"table {name} is not expected" for name in sorted(names - expected.keys())]
    columns = compare_columns(expected, found)
    others = [each for each in compare_shapes(expected, found) if each not in columns]
    return Resemblance(shape=shape, columns=(*columns, *unknown), others=tuple(others))
