"""The known shapes of the predecessor's databases."""

from __future__ import annotations

from collections.abc import Mapping
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
"""How many shapes, of those that share the most columns with a database, are compared in full."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resemblance:
    """A known shape, with a database's differences from it.

    Each difference is a sentence. `columns` are the differences of tables, columns and primary keys, `others` those of
    constraints and indexes. A database without differences of the first kind has that shape: indexes and checks were
    also changed by versions in between, and by administrators.
    """

    shape: Shape
    columns: tuple[str, ...]
    others: tuple[str, ...]

    @property
    def is_known(self) -> bool:
        """Return whether tables and columns agree with the shape."""
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
    columns = {name: set(table.columns) for name, table in found.items()}
    distances = {shape.name: _distance(columns, shape) for shape in known_shapes()}
    least = min(distances.values())
    candidates = [shape for shape in known_shapes() if distances[shape.name] == least][:_COMPARED]
    return min(
        (_compare(connection, shape, names) for shape in candidates),
        key=lambda each: (len(each.columns), len(each.others)),
    )


def _distance(columns: Mapping[str, set[str]], shape: Shape) -> int:
    """Return how many tables and columns differ.

    A table that only one of the two has counts once.
    """
    expected = {table.name: {column.name for column in table.columns} for table in shape.tables}
    common = columns.keys() & expected.keys()
    return len(columns.keys() ^ expected.keys()) + sum(len(columns[name] ^ expected[name]) for name in common)


def _compare(connection: Connection, shape: Shape, names: frozenset[str]) -> Resemblance:
    expected = expected_shapes(shape_tables(shape.name), connection.dialect)
    found = read_shapes(connection, expected)
    unknown = [f"table {name} is not expected" for name in sorted(names - expected.keys())]
    columns = compare_columns(expected, found)
    others = [each for each in compare_shapes(expected, found) if each not in columns]
    return Resemblance(shape=shape, columns=(*columns, *unknown), others=tuple(others))
