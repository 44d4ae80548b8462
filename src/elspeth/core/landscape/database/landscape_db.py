"""The audit database as recorders and exporters use it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex
from types import TracebackType
from typing import Self

from sqlalchemy import URL, Connection, Engine
from sqlalchemy.exc import DatabaseError, DBAPIError, OperationalError

from elspeth.contracts.database_urls import mask_url
from elspeth.core.landscape.database.connections import durable_engine
from elspeth.core.landscape.database.errors import LandscapeError, SchemaCompatibilityError
from elspeth.core.landscape.database.shapes import table_names
from elspeth.core.landscape.database.state import StateKind, detect_state, read_state, require_current
from elspeth.core.landscape.database.tables import create_tables, lock_tables
from elspeth.core.landscape.database.urls import describe_error, is_in_memory, parse_url, sqlite_path
from elspeth.outputs.writing import rename_noreplace, sync_directory
from elspeth.schema.checks import AuditIntegrityError

__all__ = ["LandscapeDB", "LandscapeError", "SchemaCompatibilityError", "fill_database"]


class LandscapeDB:
    """An audit database, on SQLite or PostgreSQL.

    Opening an empty database creates the tables, unless `create_tables` is false. `known_as` is the URL that messages
    use instead of the database's own: for a private copy, the URL of its original. Raises SchemaCompatibilityError for
    a database that holds other tables, and LandscapeError for one that cannot be opened or that later fails, as when
    its disk is full or the connection is lost.
    """

    def __init__(self, connection_string: str, *, create_tables: bool = True, known_as: str | None = None) -> None:
        url = parse_url(connection_string)
        self._url = known_as or mask_url(url)
        self._is_copy = known_as is not None
        self._is_sqlite = url.get_backend_name() == "sqlite"
        self._engine = durable_engine(url, create=create_tables)
        try:
            self._ensure_tables(create=create_tables)
        except DBAPIError as error:
            self.close()
            message = f"audit database {self.url} cannot be opened: {describe_error(error, url)}"
            raise LandscapeError(message) from error
        except BaseException:
            self.close()
            raise

    @classmethod
    def in_memory(cls) -> Self:
        """Create a database in memory, which ends with the object.

        It has only one connection: finish an export before recording again.
        """
        return cls("sqlite:///:memory:")

    @classmethod
    def from_url(cls, url: str, *, create_tables: bool = True) -> Self:
        """Open the database at a SQLAlchemy URL.

        With `create_tables=False` it must already hold the tables.
        """
        return cls(url, create_tables=create_tables)

    @property
    def engine(self) -> Engine:
        """Return the SQLAlchemy engine."""
        return self._engine

    @property
    def url(self) -> str:
        """Return the database's URL, its password hidden."""
        return self._url

    @property
    def is_copy(self) -> bool:
        """Return whether this is a private copy of a database.

        The log of runs of a copy is not that of its original.
        """
        return self._is_copy

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """Open a transaction.

        It is committed at the end of the block, and rolled back after an exception.
        """
        with self._name_in_errors(), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """Open a transaction whose reads all see the same state.

        An AuditIntegrityError that is raised in the block names the database.
        """
        options = {} if self._is_sqlite else {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        with (
            self._name_in_errors(),
            self._engine.connect().execution_options(**options) as connection,
            connection.begin(),
        ):
            try:
                yield connection
            except AuditIntegrityError as error:
                raise error.in_database(self.url) from error

    @contextmanager
    def write_transaction(self, connection: Connection | None = None) -> Iterator[Connection]:
        """Open a transaction for writing.

        It runs on the given connection, or on a new one.

        SQLite takes its write lock at once: a transaction that first reads and then writes would be refused, without
        waiting, if another process wrote in between.
        """
        if connection is not None:
            with self._name_in_errors(), connection.begin():
                yield connection
            return
        immediate = {"sqlite_begin": "IMMEDIATE"}
        with self._name_in_errors(), self._engine.connect().execution_options(**immediate) as new, new.begin():
            yield new

    def close(self) -> None:
        """Close every connection."""
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        self.close()

    @contextmanager
    def _name_in_errors(self) -> Iterator[None]:
        """Name the database in a LandscapeError about an outside failure."""
        try:
            yield
        except (DBAPIError, sqlite3.DatabaseError) as error:
            driver_error = error.orig if isinstance(error, DBAPIError) else error
            # SQLite's driver reports a damaged file by the base class of its errors, and uses that for nothing else.
            if not isinstance(error, OperationalError) and type(driver_error) is not sqlite3.DatabaseError:
                raise
            problem = describe_error(error, self._engine.url) if isinstance(error, DBAPIError) else str(error)
            message = f"audit database {self.url}: {problem}"
            raise LandscapeError(message) from error

    def _ensure_tables(self, *, create: bool) -> None:
        """Create the tables of an empty database, or require them.

        A database that is refused stays unchanged.
        """
        state = read_state(self._engine.url)
        if state.kind is StateKind.EMPTY and create:
            # One transaction: a crash leaves an empty database or a complete one.
            with self.write_transaction() as connection:
                lock_tables(connection)
                state = detect_state(connection)  # another process may have created the tables first
                if state.kind is StateKind.EMPTY:
                    create_tables(connection)
                    return
        require_current(state, self.url)
        with self._engine.connect():
            pass  # this refuses a connection that is not durable now rather than at the first record


@contextmanager
def fill_database(url: str) -> Iterator[Connection]:
    """Open a write transaction; an empty database gets its tables.

    A failure leaves no new table and no new file. A new file gets its name when the transaction is committed; until
    then a crash may leave it in the same directory as `.XXXXXXXX.partial`.
    """
    parsed = parse_url(url)
    try:
        with _filled(url, parsed) as connection:
            yield connection
    except OperationalError as error:
        message = f"audit database {mask_url(parsed)}: {describe_error(error, parsed)}"
        raise LandscapeError(message) from error


@contextmanager
def _filled(url: str, parsed: URL) -> Iterator[Connection]:
    if not _is_empty(parsed):
        with LandscapeDB(url, create_tables=False) as db, db.write_transaction() as connection:
            yield connection
        return
    file = sqlite_path(parsed) if parsed.get_backend_name() == "sqlite" and not is_in_memory(parsed) else None
    if file is None or file.exists():
        with _transaction_with_tables(parsed) as connection:
            yield connection
        return
    # A file that others can see must not be removed after a failure: another process may be recording into it.
    partial = file.with_name(f".{token_hex(4)}.partial")
    try:
        with _transaction_with_tables(parsed.set(database=str(partial))) as connection:
            yield connection
        _publish(partial, file)
    finally:
        for suffix in ("", "-wal", "-shm", "-journal"):
            Path(f"{partial}{suffix}").unlink(missing_ok=True)


@contextmanager
def _transaction_with_tables(url: URL) -> Iterator[Connection]:
    engine = durable_engine(url, create=True)
    try:
        with engine.connect().execution_options(sqlite_begin="IMMEDIATE") as connection, connection.begin():
            lock_tables(connection)
            if table_names(connection):  # another process created them first
                require_current(detect_state(connection), mask_url(url))
            else:
                create_tables(connection)
            yield connection
    finally:
        engine.dispose()


def _publish(partial: Path, file: Path) -> None:
    """Give a complete database its name, unless that is taken."""
    try:
        rename_noreplace(partial, file)
    except FileExistsError as error:
        message = f"audit database {file} was created by another process meanwhile. Nothing was changed. Try again."
        raise LandscapeError(message) from error
    sync_directory(file.parent)


def _is_empty(url: URL) -> bool:
    try:
        return read_state(url).kind is StateKind.EMPTY
    except DatabaseError:
        return False  # opening it raises the error with its message
