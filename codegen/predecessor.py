"""Describe the tables of databases that the predecessor left.

`python -m codegen.predecessor DIRECTORY > src/elspeth/schema/predecessor.json` writes the chain of differences.
The directory holds an empty SQLite database of each shape, named by the day of its first commit
(`2026-01-12-9t-76c-f331a858e0.db`), and any number of databases named by release (`rc5-0403__fork_coalesce.db`). The
result is committed: nothing else reads those databases, and no release of the predecessor will add to them.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Boolean, DateTime, Engine, Float, Integer, String, Text, create_engine, inspect
from sqlalchemy.engine import Inspector
from sqlalchemy.types import TypeEngine

from elspeth.schema.predecessor import Shape, shapes_to_text
from elspeth.schema.snapshots import (
    CheckSnapshot,
    ColumnSnapshot,
    IndexSnapshot,
    KeySnapshot,
    ReferenceSnapshot,
    TableSnapshot,
    default_kind,
)

__all__ = ["main", "shapes_of"]

T = TypeVar("T")

_DATED = re.compile(r"(?P<date>\d{4}-\d{2}-\d{2})-\d+t-\d+c-[0-9a-f]+")

_RELEASED = re.compile(r"(?:(?P<release>.+)-)?(?P<month>\d{2})(?P<day>\d{2})__.+")


def main(argv: Sequence[str] | None = None) -> int:
    """Print the chain of differences; return the exit code."""
    (directory,) = argv if argv is not None else sys.argv[1:]
    shapes = shapes_of(Path(directory))
    sys.stdout.write(shapes_to_text(shapes))
    return 0


def shapes_of(directory: Path) -> list[Shape]:
    """Return the shapes of databases in a directory.

    A release whose indexes or checks are those of no dated database is a shape of its own.
    """
    found: dict[frozenset[TableSnapshot], Shape] = {}
    for path in sorted(directory.glob("*.db"), key=lambda path: (_DATED.fullmatch(path.stem) is None, path.name)):
        dated, released = _DATED.fullmatch(path.stem), _RELEASED.fullmatch(path.stem)
        tables = _tables(path)
        if dated is not None:
            shape = Shape(date=dated["date"], releases=(), user_version=_user_version(path), tables=tables)
        elif released is not None:
            date = f"2026-{released['month']}-{released['day']}"
            shape = found.get(_bare(tables)) or Shape(
                date=date, releases=(), user_version=_user_version(path), tables=tables
            )
            if released["release"] is not None:
                shape = replace(shape, releases=tuple(sorted({*shape.releases, released["release"]})))
        else:
            message = f"{path.name}: not named by date or release"
            raise ValueError(message)
        found[_bare(tables)] = shape
    return sorted(found.values(), key=lambda shape: (shape.date, shape.user_version, len(shape.tables), shape.columns))


def _bare(tables: Sequence[TableSnapshot]) -> frozenset[TableSnapshot]:
    """Return the tables without the order of columns."""
    return frozenset(replace(table, columns=tuple(sorted(table.columns, key=repr))) for table in tables)


def _engine(path: Path) -> Engine:
    return create_engine(f"sqlite:///file:{path}?mode=ro&immutable=1&uri=true")


def _user_version(path: Path) -> int:
    with _engine(path).connect() as connection:
        return int(connection.exec_driver_sql("PRAGMA user_version").scalar_one())


def _tables(path: Path) -> tuple[TableSnapshot, ...]:
    engine = _engine(path)
    inspector = inspect(engine)
    try:
        return tuple(_table(inspector, name) for name in sorted(inspector.get_table_names()))
    finally:
        engine.dispose()


def _table(inspector: Inspector, name: str) -> TableSnapshot:
    key = inspector.get_pk_constraint(name)
    columns = tuple(key["constrained_columns"])
    return TableSnapshot(
        name=name,
        columns=tuple(
            _column(column["name"], column["type"], nullable=column["nullable"])
            for column in inspector.get_columns(name)
        ),
        primary_key=KeySnapshot(name=key["name"], columns=columns) if columns else None,
        foreign_keys=_in_order(
            ReferenceSnapshot(
                name=each["name"],
                columns=tuple(each["constrained_columns"]),
                table=each["referred_table"],
                target_columns=tuple(each["referred_columns"]),
                on_delete=each["options"].get("ondelete"),
            )
            for each in inspector.get_foreign_keys(name)
        ),
        uniques=_in_order(
            KeySnapshot(name=each["name"], columns=tuple(each["column_names"]))
            for each in inspector.get_unique_constraints(name)
        ),
        checks=_in_order(
            CheckSnapshot(name=str(each["name"]), condition=each["sqltext"])
            for each in inspector.get_check_constraints(name)
        ),
        indexes=_in_order(
            IndexSnapshot(
                name=str(each["name"]),
                columns=tuple(str(column) for column in each["column_names"]),
                unique=bool(each["unique"]),
                where=str(where) if (where := each["dialect_options"].get("sqlite_where")) is not None else None,
            )
            for each in inspector.get_indexes(name)
        ),
    )


def _in_order(items: Iterable[T]) -> tuple[T, ...]:
    return tuple(sorted(items, key=repr))


def _column(name: str, kind: TypeEngine[Any], *, nullable: bool) -> ColumnSnapshot:
    word = _word(kind)
    return ColumnSnapshot(name=name, type=word, nullable=nullable, kind=default_kind(word))


def _word(kind: TypeEngine[Any]) -> str:
    match kind:
        case Text():
            return "text"
        case String(length=length):
            return f"varchar({length})"
        case Boolean():
            return "boolean"
        case Integer():
            return "integer"
        case Float():
            return "float"
        case DateTime():
            return "timestamp"
    message = f"no word for the type {kind!r}"
    raise TypeError(message)


if __name__ == "__main__":
    raise SystemExit(main())
