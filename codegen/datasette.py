"""Metadata with which Datasette shows an audit database."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import yaml

from codegen.model import Kind, Model, Table

__all__ = ["DATABASE", "datasette_metadata"]

DATABASE = "audit"
"""The name of the database, which Datasette takes from the name of its file."""

_QUERIES = Path(__file__).parent / "queries"
_PARAMETER = re.compile(r"(?<![:\w]):([a-z_]+)")


def datasette_metadata(model: Model) -> str:
    """Return the metadata as YAML.

    Raises ValueError for a query that SQLite cannot read.
    """
    tables = {table.name: _table(table) for table in model.tables}
    databases = {DATABASE: {"tables": tables, "queries": dict(_queries(model))}}
    metadata = {"title": f"Audit trail, epoch {model.epoch}", "description": model.description, "databases": databases}
    return yaml.dump(metadata, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)


def _table(table: Table) -> dict[str, object]:
    """Return the metadata of a table.

    Its label is the last column of its key. Columns with few different values are facets.
    """
    facets = [column.name for column in table.columns if column.enum is not None or column.kind is Kind.BOOLEAN]
    return {
        "description": table.description,
        "columns": {column.name: column.description for column in table.columns},
        "label_column": table.primary_key[-1],
        **({"facets": facets} if facets else {}),
        **({"hidden": True} if table.is_bookkeeping else {}),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Query:
    """A query with what Datasette says of it."""

    title: str
    description: str
    sql: str

    @classmethod
    def read(cls, path: Path) -> _Query:
        """Read a file, whose first two lines are comments."""
        title, description, sql = path.read_text(encoding="utf-8").split("\n", 2)
        return cls(title=title.removeprefix("-- "), description=description.removeprefix("-- "), sql=sql)


def _queries(model: Model) -> Iterator[tuple[str, dict[str, object]]]:
    """Yield the queries whose tables the schema has."""
    with closing(sqlite3.connect(":memory:")) as connection:
        for table in model.tables:
            columns = ", ".join(f'"{column.name}"' for column in table.columns)
            connection.execute(f'CREATE TABLE "{table.name}" ({columns})')
        for path in sorted(_QUERIES.glob("*.sql")):
            query = _Query.read(path)
            parameters = list(dict.fromkeys(_PARAMETER.findall(query.sql)))
            problem = _problem(connection, query.sql, parameters)
            if problem is None:
                shown: dict[str, object] = {"title": query.title, "description": query.description, "sql": query.sql}
                yield path.stem, {**shown, **({"params": parameters} if parameters else {})}
            elif not problem.startswith("no such table"):
                raise ValueError(f"codegen/queries/{path.name}: {problem}")


def _problem(connection: sqlite3.Connection, sql: str, parameters: list[str]) -> str | None:
    values: Mapping[str, str] = dict.fromkeys(parameters, "")
    try:
        connection.execute(f"EXPLAIN {sql}", values)
    except sqlite3.Error as error:
        return str(error)
    return None


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as they are."""


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _represent_text)
