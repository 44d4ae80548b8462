"""The expected and found shapes of tables."""

from __future__ import annotations

import re
import warnings
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from sqlalchemy import CheckConstraint, Connection, Dialect, Index, MetaData, Table, UniqueConstraint, inspect
from sqlalchemy.engine.interfaces import ReflectedCheckConstraint, ReflectedColumn, ReflectedIndex, TableKey
from sqlalchemy.exc import SAWarning
from sqlalchemy.types import NullType, TypeEngine

__all__ = [
    "TableShape",
    "column_names",
    "compare_columns",
    "compare_shapes",
    "expected_shapes",
    "normalize_condition",
    "read_shapes",
    "table_names",
]

_EXPRESSION = "expression"
"""The placeholder for an indexed expression among the columns of an index."""

_Index = tuple[str, tuple[str, ...], str, str]
"""An index: its name, its columns, whether it is unique, and which rows it covers."""


# -- tables ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class TableShape:
    """The shape of a table.

    It leaves out the names of primary keys, foreign keys and unique constraints, which old epochs did not name.
    """

    columns: Mapping[str, str]
    primary_key: tuple[str, ...]
    foreign_keys: frozenset[tuple[tuple[str, ...], str, tuple[str, ...], str]]
    uniques: frozenset[tuple[str, ...]]
    checks: frozenset[tuple[str, str]]
    indexes: frozenset[_Index]


def expected_shapes(metadata: MetaData, dialect: Dialect) -> dict[str, TableShape]:
    """Return the shapes of the tables in a new database."""
    return {table.name: _expected_table(table, dialect) for table in metadata.tables.values()}


def table_names(connection: Connection) -> frozenset[str]:
    """Return the names of all tables in the database."""
    return frozenset(inspect(connection).get_table_names())


def column_names(connection: Connection, table: str) -> frozenset[str]:
    """Return the names of a table's columns, if it exists."""
    with warnings.catch_warnings(action="ignore", category=SAWarning):  # about types that SQLAlchemy does not know
        found = inspect(connection).get_multi_columns(filter_names=[table])
    return frozenset(column["name"] for columns in found.values() for column in columns)


def read_shapes(connection: Connection, names: Collection[str]) -> dict[str, TableShape]:
    """Return the shapes of those named tables that exist.

    Other tables are not inspected: SQLAlchemy may not know their types, indexes and modules.
    """
    wanted = sorted(table_names(connection).intersection(names))
    if not wanted:
        return {}  # SQLAlchemy reads an empty list as all tables
    with warnings.catch_warnings(action="ignore", category=SAWarning):  # an unknown type is reported as a difference
        return _found_tables(connection, wanted)


def _found_tables(connection: Connection, names: list[str]) -> dict[str, TableShape]:
    inspector = inspect(connection)
    columns = inspector.get_multi_columns(filter_names=names)
    primary_keys = inspector.get_multi_pk_constraint(filter_names=names)
    foreign_keys = inspector.get_multi_foreign_keys(filter_names=names)
    uniques = inspector.get_multi_unique_constraints(filter_names=names)
    checks = inspector.get_multi_check_constraints(filter_names=names)
    indexes = inspector.get_multi_indexes(filter_names=names)
    unreflected = _expression_indexes(connection, indexes)
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
            )
            | {index for owner, index in unreflected if owner == table},
        )
        for key in columns
        for _, table in (key,)
    }


def _expression_indexes(
    connection: Connection, reflected: Mapping[TableKey, list[ReflectedIndex]]
) -> list[tuple[str, _Index]]:
    """Return (table, index) for indexes over expressions on SQLite.

    SQLAlchemy leaves these out.
    """
    if connection.dialect.name != "sqlite":
        return []
    known = {each["name"] for found in reflected.values() for each in found}
    statement = "SELECT tbl_name, name, sql LIKE 'CREATE UNIQUE%' FROM sqlite_schema WHERE type = 'index' AND sql <> ''"
    return [
        (table, (name, (_EXPRESSION,), _uniqueness(unique=bool(unique)), _where(None)))
        for table, name, unique in connection.exec_driver_sql(statement)
        if name not in known
    ]


def compare_shapes(expected: Mapping[str, TableShape], found: Mapping[str, TableShape]) -> list[str]:
    """Return the differences from the expected tables, one sentence each.

    Other tables are ignored.
    """
    differences = []
    for name, table in expected.items():
        if name not in found:
            differences.append(f"table {name} is missing")
            continue
        differences += _table_differences(name, table, found[name])
    return differences


def compare_columns(expected: Mapping[str, TableShape], found: Mapping[str, TableShape]) -> list[str]:
    """Return only the differences of tables, columns and primary keys."""
    differences = []
    for name, table in expected.items():
        differences += _column_differences(name, table, found[name]) if name in found else [f"table {name} is missing"]
    return differences


def _table_differences(name: str, expected: TableShape, found: TableShape) -> list[str]:
    differences = _column_differences(name, expected, found)
    for what, wanted, got in (
        ("foreign key", expected.foreign_keys, found.foreign_keys),
        ("unique constraint", expected.uniques, found.uniques),
        ("check", expected.checks, found.checks),
        ("index", expected.indexes, found.indexes),
    ):
        differences += [f"{what} of {name} is missing: {_join(each)}" for each in sorted(wanted - got, key=str)]
        differences += [f"{what} of {name} is not expected: {_join(each)}" for each in sorted(got - wanted, key=str)]
    return differences


def _column_differences(name: str, expected: TableShape, found: TableShape) -> list[str]:
    differences = [f"column {name}.{column} is missing" for column in expected.columns if column not in found.columns]
    differences += [
        f"column {name}.{column} is not expected" for column in found.columns if column not in expected.columns
    ]
    differences += [
        f"column {name}.{column}: expected {kind}, got {found.columns[column]}"
        for column, kind in expected.columns.items()
        if found.columns.get(column, kind) != kind
    ]
    if expected.primary_key != found.primary_key:
        keys = [", ".join(key) or "none" for key in (expected.primary_key, found.primary_key)]
        differences.append(f"primary key of {name}: expected {keys[0]}, got {keys[1]}")
    return differences


def _join(value: object) -> str:
    return " ".join(_join(item) for item in value) if isinstance(value, tuple) else str(value)


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
            (str(each.name), normalize_condition(str(each.sqltext)))
            for each in table.constraints
            if isinstance(each, CheckConstraint)
        ),
        indexes=frozenset(_expected_index(index, dialect) for index in table.indexes),
    )


def _found_check(check: ReflectedCheckConstraint) -> tuple[str, str]:
    return str(check["name"]), normalize_condition(check["sqltext"])


def _found_index(index: ReflectedIndex, dialect: Dialect) -> _Index:
    where = index.get("dialect_options", {}).get(f"{dialect.name}_where")
    columns = tuple(name or _EXPRESSION for name in index["column_names"])
    return str(index["name"]), columns, _uniqueness(unique=index["unique"]), _where(where)


def _expected_index(index: Index, dialect: Dialect) -> _Index:
    columns = tuple(column.name for column in index.columns)
    where = index.dialect_options[dialect.name].get("where")
    return str(index.name), columns, _uniqueness(unique=index.unique), _where(where)


def _uniqueness(*, unique: bool) -> str:
    return "unique" if unique else "not unique"


def _where(condition: object) -> str:
    return "all rows" if condition is None else f"where {normalize_condition(str(condition))}"


def _on_delete(action: str | None) -> str:
    return f"on delete {(action or 'no action').lower()}"


def _column(column: ReflectedColumn, dialect: Dialect) -> str:
    return _type(column["type"], dialect, nullable=column["nullable"])


def _type(kind: TypeEngine[object], dialect: Dialect, *, nullable: bool) -> str:
    """Return the column's type as the database names it."""
    if isinstance(kind, NullType):
        return "an unknown type"
    name = kind.compile(dialect=dialect).partition(" COLLATE")[0]
    if dialect.name == "postgresql" and name == "FLOAT":  # the server reports this type by its other name
        name = "DOUBLE PRECISION"
    return name if nullable else f"{name} NOT NULL"


# -- conditions ------------------------------------------------------------------------------------------------------

_WORD = re.compile(
    r"""
    (?P<literal> '(?:[^']|'')*' )
    | (?P<cast> ::(?:double\ precision|character\ varying|\w+)(?:\(\d+\))?(?:\[\])? )
    | (?P<word> \w+ | [<>=!]+ )
    """,
    re.VERBOSE,
)
_LIST_OF_ONE = re.compile(r"\bin ('(?:[^']|'')*'|\d+)(?= [^'\d]|$)")
_ALTERNATIVES = re.compile(r"\b(\w+) = '(?:[^']|'')*'(?: or \1 = '(?:[^']|'')*')+")


def normalize_condition(condition: str) -> str:
    """Return a condition's columns, literals and operators, in order.

    PostgreSQL stores a condition as a tree, and prints it with casts and parentheses, and its lists as arrays.
    Alternatives for one column become a list, as older databases have it.
    """
    words = [
        match["literal"] or match["word"].lower().replace("!=", "<>")
        for match in _WORD.finditer(condition)
        if match["cast"] is None
    ]
    plain = _LIST_OF_ONE.sub(r"= \1", " ".join(words).replace("= any array ", "in "))
    return _ALTERNATIVES.sub(_list_of_alternatives, plain)


def _list_of_alternatives(alternatives: re.Match[str]) -> str:
    name = alternatives[1]
    values = alternatives[0].removeprefix(f"{name} = ").replace(f" or {name} = ", " ")
    return f"{name} in {values}"
