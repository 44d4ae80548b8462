"""Rows from a database query."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

from sqlalchemy import Connection, create_engine, make_url, text
from sqlalchemy.exc import SQLAlchemyError

from elspeth.contracts.databases import mask_url
from elspeth.contracts.plugins import InvalidRow, PluginError, Row
from elspeth.plugins.base import Source, SourceOptions
from elspeth.plugins.coercion import RowValidator
from elspeth.plugins.databases import DatabaseUrl, database_exists, database_reason
from elspeth.plugins.values import foreign_row

__all__ = ["SqlSource", "SqlSourceOptions"]

_FETCHED_ROWS = 1_000


class SqlSourceOptions(SourceOptions):
    """Options of the SQL source: a SQLAlchemy URL, and a query. Give the query an ORDER BY: the order is recorded."""

    url: DatabaseUrl
    query: str


class SqlSource(Source):
    """Rows of a database query.

    The query is a SELECT; nothing is committed. Times, dates and decimals become text, bytes base64 text. A row that
    does not fit the schema is an invalid row.
    """

    name = "sql"
    plugin_version = "1.1.0"
    options_model = SqlSourceOptions

    def __init__(self, options: SqlSourceOptions) -> None:
        super().__init__(options)
        self._url = make_url(options.url)
        self._query = options.query
        self._validator = RowValidator(options.schema_config)

    def check(self) -> None:
        """Look whether the file of a SQLite database is there; others are not asked."""
        if not database_exists(self._url):
            raise PluginError(f"database {mask_url(self._url)} does not exist")

    def read(self) -> Iterator[Row | InvalidRow]:
        """Every row in the order of the query; PluginError names the database, never its password."""
        shown = mask_url(self._url)
        if not database_exists(self._url):
            raise PluginError(f"database {shown} does not exist")
        try:
            engine = create_engine(self._url)
        except (SQLAlchemyError, ImportError) as error:
            raise PluginError(f"database {shown} cannot be opened: {database_reason(error, self._url)}") from error
        try:
            with engine.connect().execution_options(yield_per=_FETCHED_ROWS) as connection:
                _keep_undecodable(connection)
                result = connection.execute(text(self._query))
                if not result.returns_rows:
                    raise PluginError(f"database {shown}: the query returns no rows: expected a SELECT")
                names = list(result.keys())
                repeated = sorted({name for name in names if names.count(name) > 1})
                if repeated:
                    raise PluginError(f"database {shown}: two columns are named {repeated[0]!r}: name them with AS")
                for number, values in enumerate(result):
                    yield foreign_row(dict(zip(names, values, strict=True)), self._validator, f"row {number}")
        except SQLAlchemyError as error:
            raise PluginError(f"database {shown} cannot be read: {database_reason(error, self._url)}") from error
        finally:
            engine.dispose()


def _keep_undecodable(connection: Connection) -> None:
    """Let SQLite give text that is not UTF-8 as a row's value: by itself the driver would end the query."""
    raw: object = connection.connection.dbapi_connection
    if isinstance(raw, sqlite3.Connection):
        raw.text_factory = _decoded


def _decoded(content: bytes) -> str:
    return content.decode(errors="surrogateescape")
