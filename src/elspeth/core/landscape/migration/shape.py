"""What tells the tables of one epoch from those of another, of a database as it is and of an epoch as it should be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import CheckConstraint, Connection, Dialect, Index, MetaData, Table, UniqueConstraint, inspect
from sqlalchemy.engine.interfaces import ReflectedCheckConstraint, ReflectedColumn, ReflectedIndex
from sqlalchemy.types import TypeEngine

from elspeth.core.landscape.migration.condition import condition_words

__all__ = ["TableShape", "differences", "expected_shape", "found_shape"]

_Index = tuple[str, tuple[str, ...], str, str]
"""An index: its name, its columns, whether it is unique, and which rows it is for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TableShape:
    """A table without the names that historical constraints do not have."""

    columns: Mapping[str, str]
    primary_key: tuple[str, ...]
    foreign_keys: frozenset[tuple[tuple[str, ...], str, tuple[str, ...], str]]
    uniques: frozenset[tuple[str, ...]]
    checks: frozenset[tuple[str, str]]
    indexes: frozenset[_Index]


def expected_shape(metadata: MetaData, dialect: Dialect) -> dict[str, TableShape]:
    """The shape of the tables in a database of that kind."""
    return {table.name: _expected_table(table, dialect) for table in metadata.tables.values()}


def found_shape(connection: Connection) -> dict[str, TableShape]:
    """The shape of the database's tables."""
    inspector = inspect(connection)
    columns = inspector.get_multi_columns()
    primary_keys = inspector.get_multi_pk_constraint()
    foreign_keys = inspector.get_multi_foreign_keys()
    uniques = inspector.get_multi_unique_constraints()
    checks = inspector.get_multi_check_constraints()
    indexes = inspector.get_multi_indexes()
    return {
        table: TableShape(
            columns={column["name"]: _column(column, connection.dialect) for column in columns[key]},
            primary_key=tuple(primary_keys[key]["constrained_columns"]) if primary_keys.get(key) else (),
            foreign_keys=frozenset(
                (
                    tuple(each["constrained_columns"]),
                    each["referred_table"],
                    tuple(each["referred_columns"]),
                    _on_delete(each["options"].get("ondelete")),
                )
                for each in foreign_keys.get(key, ())
            ),
            uniques=frozenset(tuple(each["column_names"]) for each in uniques.get(key, ())),
            checks=frozenset(_found_check(each) for each in checks.get(key, ())),
            indexes=frozenset(
                _found_index(each, connection.dialect)
                for each in indexes.get(key, ())
                if "duplicates_constraint" not in each
            ),
        )
        for key in columns
        for _, table in (key,)
    }


def differences(expected: Mapping[str, TableShape], found: Mapping[str, TableShape]) -> list[str]:
    """How the found tables differ from the expected ones, one sentence each; other tables do not matter."""
    said = []
    for name, table in expected.items():
        if name not in found:
            said.append(f"table {name} is missing")
            continue
        said += _table_differences(name, table, found[name])
    return said


def _table_differences(name: str, expected: TableShape, found: TableShape) -> list[str]:
    said = [f"column {name}.{column} is missing" for column in expected.columns if column not in found.columns]
    said += [f"column {name}.{column} is not expected" for column in found.columns if column not in expected.columns]
    said += [
        f"column {name}.{column}: expected {kind}, got {found.columns[column]}"
        for column, kind in expected.columns.items()
        if found.columns.get(column, kind) != kind
    ]
    if expected.primary_key != found.primary_key:
        keys = [", ".join(key) or "none" for key in (expected.primary_key, found.primary_key)]
        said.append(f"primary key of {name}: expected {keys[0]}, got {keys[1]}")
    for what, wanted, got in (
        ("foreign key", expected.foreign_keys, found.foreign_keys),
        ("unique constraint", expected.uniques, found.uniques),
        ("check", expected.checks, found.checks),
        ("index", expected.indexes, found.indexes),
    ):
        said += [f"{what} of {name} is missing: {_shown(each)}" for each in sorted(wanted - got, key=str)]
        said += [f"{what} of {name} is not expected: {_shown(each)}" for each in sorted(got - wanted, key=str)]
    return said


def _shown(value: object) -> str:
    return " ".join(_shown(item) for item in value) if isinstance(value, tuple) else str(value)


def _expected_table(table: Table, dialect: Dialect) -> TableShape:
    return TableShape(
        columns={column.name: _type(column.type, dialect, nullable=bool(column.nullable)) for column in table.columns},
        primary_key=tuple(column.name for column in table.primary_key),
        foreign_keys=frozenset(
            (
                tuple(key.column_keys),
                key.referred_table.name,
                tuple(element.column.name for element in key.elements),
                _on_delete(key.ondelete),
            )
            for key in table.foreign_key_constraints
        ),
        uniques=frozenset(
            tuple(column.name for column in each.columns)
            for each in table.constraints
            if isinstance(each, UniqueConstraint)
        ),
        checks=frozenset(
            (str(each.name), condition_words(str(each.sqltext)))
            for each in table.constraints
            if isinstance(each, CheckConstraint)
        ),
        indexes=frozenset(_expected_index(index, dialect) for index in table.indexes),
    )


def _found_check(check: ReflectedCheckConstraint) -> tuple[str, str]:
    return str(check["name"]), condition_words(check["sqltext"])


def _found_index(index: ReflectedIndex, dialect: Dialect) -> _Index:
    where = index.get("dialect_options", {}).get(f"{dialect.name}_where")
    columns = tuple(str(name) for name in index["column_names"])
    return str(index["name"]), columns, _uniqueness(unique=index["unique"]), _where(where)


def _expected_index(index: Index, dialect: Dialect) -> _Index:
    columns = tuple(column.name for column in index.columns)
    where = index.dialect_options[dialect.name].get("where")
    return str(index.name), columns, _uniqueness(unique=index.unique), _where(where)


def _uniqueness(*, unique: bool) -> str:
    return "unique" if unique else "not unique"


def _where(condition: object) -> str:
    return "all rows" if condition is None else f"where {condition_words(str(condition))}"


def _on_delete(action: str | None) -> str:
    return f"on delete {(action or 'no action').lower()}"


def _column(column: ReflectedColumn, dialect: Dialect) -> str:
    return _type(column["type"], dialect, nullable=column["nullable"])


def _type(kind: TypeEngine[object], dialect: Dialect, *, nullable: bool) -> str:
    """The column's type as the database names it; PostgreSQL reports FLOAT under its other name."""
    name = kind.compile(dialect=dialect).partition(" COLLATE")[0]
    if dialect.name == "postgresql" and name == "FLOAT":
        name = "DOUBLE PRECISION"
    return name if nullable else f"{name} NOT NULL"
