"""The sink `database`, which appends rows to a table."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, StringConstraints
from sqlalchemy import (
    BigInteger,
    Boolean,
    Connection,
    Date,
    DateTime,
    Engine,
    Float,
    Interval,
    MetaData,
    Numeric,
    String,
    Table,
    Text,
    create_engine,
    insert,
    inspect,
    make_url,
    select,
)
from sqlalchemy import Column as TableColumn
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.types import TypeEngine

from elspeth.contracts.database_urls import mask_url
from elspeth.contracts.errors import recordable_message
from elspeth.contracts.plugins import (
    Dataset,
    JsonObject,
    LocalPath,
    PluginError,
    PluginOptions,
    RowRejectedError,
    Sink,
    StagedOutput,
    table_dataset,
)
from elspeth.contracts.rows import RowData, RowValidator
from elspeth.contracts.values import TypedValue, canonical_text
from elspeth.plugins._target_columns import TargetColumns
from elspeth.plugins.column_types import Column, ColumnType, column_types
from elspeth.plugins.databases import DatabaseUrl, describe_database_error, make_parent_directory
from elspeth.plugins.json_text import encode_json
from elspeth.plugins.row_spool import RowSpool, in_groups

__all__ = ["PUBLICATIONS", "DatabaseSink", "DatabaseSinkOptions"]

PUBLICATIONS = "elspeth_publications"
"""The table in the target database that records each publication in the same transaction as its rows."""

_AUDIT_TABLES = ("token_outcomes", "runs", "nodes", "rows", "tokens")
"""Tables that audit databases of all epochs have, and other databases hardly ever have."""

_CHUNK_ROWS = 1_000
_DECIMAL_DIGITS = 38
_TYPES: Mapping[ColumnType, TypeEngine[Any]] = {
    ColumnType.INTEGER: BigInteger(),
    ColumnType.REAL: Float(),
    ColumnType.BOOLEAN: Boolean(),
    ColumnType.TEXT: Text(),
    ColumnType.JSON: Text(),
    ColumnType.DATE: Date(),
    ColumnType.DATETIME: DateTime(timezone=True),
    ColumnType.DURATION: Interval(),
}
_WITHOUT_OWN_TYPES = frozenset({"sqlite"})
"""Databases without types for decimals, dates, times and durations: new columns hold their canonical text."""


class DatabaseSinkOptions(PluginOptions):
    """Options of the database sink."""

    url: DatabaseUrl = Field(description="The database, as an SQLAlchemy URL.")
    table: Annotated[str, StringConstraints(min_length=1, max_length=63)] = Field(
        description="The table, which is created if it does not exist."
    )
    staging_directory: LocalPath = Field(
        default=".elspeth/staging", description="Where rows wait on disk until all can be inserted."
    )


class DatabaseSink(Sink):
    """Rows appended to a database table in one transaction.

    The table is made if it does not exist. Rows wait on disk as JSON lines until the audit trail holds their hash; then
    one transaction inserts them together with a row in `elspeth_publications` that names the run. Publishing again
    finds that row and changes nothing, so after a crash the database itself says whether it has the rows.
    """

    name = "database"
    plugin_version = "1.2.0"
    options_model = DatabaseSinkOptions

    def __init__(self, options: DatabaseSinkOptions) -> None:
        super().__init__(options)
        self._url = make_url(options.url)
        self._table = options.table
        self._place = f"{mask_url(self._url)}#{options.table}"
        self._validator = RowValidator(options.schema_config)
        self._schema = options.schema_config
        # Tables of the same name in two databases have separate staging files.
        digest = hashlib.sha256(self._place.encode()).hexdigest()[:8]
        self._spool = RowSpool(Path(options.staging_directory) / f"{options.table}.{digest}.rows")
        self._run = ""
        self._columns: TargetColumns | None = None

    def dataset(self) -> Dataset | None:
        """Return the table, unless its database is in memory."""
        return table_dataset(self._url, self._table)

    def open(self, staging_name: str) -> None:
        """Read the table's columns and create the staging file.

        Raises PluginError if one of them cannot be reached, or if the table can take no row of the schema.
        """
        self._columns = self._read_columns(staging_name)
        self._spool.open(staging_name)

    def reopen(self, staging_name: str, position: JsonObject) -> None:
        """Read the columns again, and continue at the position."""
        columns = self._columns = self._read_columns(staging_name)
        self._spool.reopen(staging_name, position)
        for row in self._spool.read():
            columns.add(row)

    def position(self) -> JsonObject:
        """Return the position behind the rows so far."""
        return self._spool.position()

    def write(self, row: RowData) -> None:
        """Keep one row.

        Raises RowRejectedError if it does not satisfy the schema or does not fit the table.
        """
        columns = self._columns
        if columns is None:
            raise PluginError(f"{self._place} is not open")
        try:
            row = self._validator.validate(row)
            columns.check(row)
            self._spool.append(row)
        except ValueError as error:
            raise RowRejectedError(recordable_message(error)) from error
        columns.add(row)

    def sync(self) -> None:
        """Sync all rows to disk."""
        self._spool.sync()

    def finish(self) -> StagedOutput | None:
        """End the rows, and return the hash over all.

        The hash is over the rows as JSON lines.
        """
        self._spool.finish()
        return StagedOutput(
            artifact_type=self.name,
            path=self._place,
            content_hash=self._spool.content_hash,
            size_bytes=self._spool.size_bytes,
        )

    def publish(self) -> None:
        """Insert the rows, in one transaction with their publication.

        A crash before the commit leaves the table without these rows; a crash after it leaves all of them.
        """
        engine = self._engine()
        try:
            with engine.begin() as connection:
                self._insert(connection)
        except SQLAlchemyError as error:
            raise PluginError(
                f"{self._place} cannot be written: {describe_database_error(error, self._url)}"
            ) from error
        finally:
            engine.dispose()
        self._spool.discard()

    def confirm(self, staging_name: str, output: StagedOutput) -> bool:
        """Return whether the database has the rows of the run."""
        engine, columns = self._engine(), _publications_table().c
        published = select(columns.content_hash).where(
            columns.run_id == staging_name, columns.table_name == self._table
        )
        try:
            with engine.connect() as connection:
                is_there = inspect(connection).has_table(PUBLICATIONS)
                is_in_place = is_there and connection.scalar(published) == output.content_hash
        except SQLAlchemyError as error:
            raise PluginError(f"{self._place} cannot be read: {describe_database_error(error, self._url)}") from error
        finally:
            engine.dispose()
        if is_in_place:
            self._spool.remove(staging_name)
        return is_in_place

    def close(self) -> str | None:
        """Close the staging file and return its path."""
        return self._spool.close()

    def discard(self) -> None:
        """Remove the staging file."""
        self._spool.discard()

    def _refuse_audit_database(self, connection: Connection) -> None:
        inspector = inspect(connection)
        if all(map(inspector.has_table, _AUDIT_TABLES)):
            raise PluginError("is an audit database, which no sink may write to: name another one")

    def _read_columns(self, staging_name: str) -> TargetColumns:
        self._run = staging_name
        engine, doing = self._engine(), "reached"
        try:
            make_parent_directory(self._url)
            with engine.connect() as connection:
                doing = "written"
                self._refuse_audit_database(connection)
                columns = TargetColumns(connection, self._table)
            columns.require(self._schema)
        except OSError as error:
            raise PluginError(f"{self._place} cannot be created: {error.strerror}") from error
        except SQLAlchemyError as error:
            raise PluginError(
                f"{self._place} cannot be {doing}: {describe_database_error(error, self._url)}"
            ) from error
        except PluginError as error:
            raise PluginError(f"{self._place}: {error}") from error
        finally:
            engine.dispose()
        return columns

    def _engine(self) -> Engine:
        try:
            return create_engine(self._url)
        except (SQLAlchemyError, ImportError) as error:
            raise PluginError(f"{self._place} cannot be opened: {describe_database_error(error, self._url)}") from error

    def _insert(self, connection: Connection) -> None:
        publications = _publications_table()
        publications.create(connection, checkfirst=True)
        key = (publications.c.run_id == self._run, publications.c.table_name == self._table)
        published = connection.scalar(select(publications.c.content_hash).where(*key))
        if published == self._spool.content_hash:
            return
        if published is not None:
            raise PluginError(
                f"{self._place} has other rows of run {self._run} already: expected those with SHA-256 "
                f"{self._spool.content_hash}, got {published}; give each sink a table of its own"
            )
        shape = column_types(self._spool.read(), self._schema.fields or ())
        if shape:
            table = self._open_table(connection, shape)
            for chunk in in_groups(self._spool.read(), _CHUNK_ROWS):
                rows = [
                    {name: _convert_cell(row.get(name), column, table.c[name].type) for name, column in shape.items()}
                    for row in chunk
                ]
                connection.execute(insert(table), rows)
        connection.execute(
            insert(publications),
            {
                "run_id": self._run,
                "table_name": self._table,
                "content_hash": self._spool.content_hash,
                "row_count": self._spool.rows,
                "published_at": dt.datetime.now(dt.UTC).isoformat(),
            },
        )

    def _open_table(self, connection: Connection, shape: Mapping[str, Column]) -> Table:
        """Return the table, made if it does not exist."""
        metadata = MetaData()
        if inspect(connection).has_table(self._table):
            return Table(self._table, metadata, autoload_with=connection)
        dialect = connection.dialect.name
        columns = (TableColumn(name, _column_type(column, dialect)) for name, column in shape.items())
        table = Table(self._table, metadata, *columns)
        table.create(connection)
        return table


def _publications_table() -> Table:
    return Table(
        PUBLICATIONS,
        MetaData(),
        TableColumn("run_id", String(64), primary_key=True),
        TableColumn("table_name", String(63), primary_key=True),
        TableColumn("content_hash", String(64), nullable=False),
        TableColumn("row_count", BigInteger, nullable=False),
        TableColumn("published_at", String(32), nullable=False),
    )


def _column_type(column: Column, dialect: str) -> TypeEngine[Any]:
    """Return the SQL type of a new column."""
    is_typed = column.type in {ColumnType.DECIMAL, ColumnType.DATE, ColumnType.DATETIME, ColumnType.DURATION}
    if is_typed and dialect in _WITHOUT_OWN_TYPES:
        return Text()
    return Numeric(_DECIMAL_DIGITS, column.places) if column.type is ColumnType.DECIMAL else _TYPES[column.type]


def _convert_cell(value: object, column: Column, target: TypeEngine[Any]) -> object:
    """Convert a value for the driver.

    A decimal, date, time or duration is kept for a column of that type, and becomes text for any other column.
    """
    if value is None:
        return None
    if column.type is ColumnType.JSON:
        return encode_json(value)
    if isinstance(value, TypedValue) and not _holds(target, value):
        return canonical_text(value)
    if isinstance(value, dt.datetime) and not getattr(target, "timezone", False):
        return value.replace(tzinfo=None)  # the value is in UTC; with a zone, a server would convert it to its own
    return value


def _holds(target: TypeEngine[Any], value: TypedValue) -> bool:
    kinds = {Decimal: Numeric, dt.datetime: DateTime, dt.date: Date, dt.timedelta: Interval}
    return isinstance(target, kinds[type(value)]) and not isinstance(target, Float)
