"""The chain of differences gives every known shape."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from importlib.resources import files
from pathlib import Path

from codegen.predecessor import shapes_of
from elspeth.schema.predecessor import parse_shapes, shapes_to_text


def chain() -> str:
    return files("elspeth.schema").joinpath("predecessor.json").read_text(encoding="utf-8")


def test_the_chain_agrees_with_the_databases(predecessor_files: Path) -> None:
    assert shapes_to_text(shapes_of(predecessor_files)) == chain()


def test_the_chain_round_trips_through_shapes() -> None:
    assert shapes_to_text(parse_shapes(chain())) == chain()


def test_every_shape_has_a_name_of_its_own() -> None:
    names = [shape.name for shape in parse_shapes(chain())]
    assert len(set(names)) == len(names) == 61


def test_every_shape_has_the_columns_of_its_database(predecessor_files: Path) -> None:
    """Compare with SQLite's own description, read without our code."""
    shapes = parse_shapes(chain())
    columns = [{(table.name, column.name) for table in shape.tables for column in table.columns} for shape in shapes]
    for path in predecessor_files.glob("*.db"):
        with closing(sqlite3.connect(path)) as connection:
            found = set(
                connection.execute(
                    "SELECT m.name, c.name FROM sqlite_master m JOIN pragma_table_info(m.name) c"
                    " WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite_%'"
                )
            )
        assert found in columns, path.name
