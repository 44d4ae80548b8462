"""The source `sql`, and database addresses in options."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, StringConstraints
from sqlalchemy import URL, Connection, create_engine, make_url, text
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from elspeth.contracts.database_urls import driver_problem, hide_secrets_of, mask_url, parse_database_url
from elspeth.contracts.errors import recordable_message
from elspeth.contracts.plugins import Dataset, PluginError, ReadInput, Source, SourceOptions, table_dataset
from elspeth.contracts.rows import InvalidRow, RowData, RowValidator, convert_row
from elspeth.outputs.writing import make_directory

__all__ = [
    "DatabaseUrl",
    "SqlSource",
    "SqlSourceOptions",
    "database_exists",
    "describe_database_error",
    "make_parent_directory",
]

_FETCHED_ROWS = 1_000

_ONE_TABLE = re.compile(
    r"\s*SELECT\s(?P<columns>.*?)\sFROM\s+(?P<table>[A-Z_][\w$]*(?:\.[A-Z_][\w$]*)?)"
    r"(?P<rest>(?:\s+(?:WHERE|GROUP|ORDER|LIMIT)\b.*)?)\s*;?\s*",
    re.IGNORECASE | re.DOTALL,
)
_OTHER_TABLES = re.compile(r"\b(?:SELECT|FROM|JOIN|UNION|INTERSECT|EXCEPT)\b|--|/\*", re.IGNORECASE)


class SqlSourceOptions(SourceOptions):
    """Options of the SQL source."""

    url: DatabaseUrl = Field(description="The database, as an SQLAlchemy URL.")
    query: str = Field(description="A SELECT. It needs an ORDER BY: the order of rows is recorded.")
    tables: tuple[Annotated[str, StringConstraints(min_length=1)], ...] = Field(
        default=(),
        description="The tables that the query reads, perhaps with their schemas, as lineage events name them. If not"
        " given, the one that a plain query has after FROM; none of any other query.",
    )


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
        self._tables = options.tables or _find_tables(options.query)
        self._validator = RowValidator(options.schema_config)
        self._rows: int | None = None
        self._is_complete = False

    def check(self) -> None:
        """Raise PluginError if a SQLite database does not exist.

        Other databases are not contacted.
        """
        if not database_exists(self._url):
            raise PluginError(f"database {mask_url(self._url)} does not exist")

    def read(self) -> Iterator[RowData | InvalidRow]:
        """Yield every row in the order of the query.

        Raises PluginError, which names the database but never its password.
        """
        shown = mask_url(self._url)
        if not database_exists(self._url):
            raise PluginError(f"database {shown} does not exist")
        try:
            engine = create_engine(self._url)
        except (SQLAlchemyError, ImportError) as error:
            raise PluginError(
                f"database {shown} cannot be opened: {describe_database_error(error, self._url)}"
            ) from error
        try:
            with engine.connect().execution_options(yield_per=_FETCHED_ROWS) as connection:
                _accept_undecodable(connection)
                result = connection.execute(text(self._query))
                if not result.returns_rows:
                    raise PluginError(f"database {shown}: the query returns no rows: expected a SELECT")
                names = list(result.keys())
                repeated = sorted({name for name in names if names.count(name) > 1})
                if repeated:
                    raise PluginError(f"database {shown}: two columns are named {repeated[0]!r}: name them with AS")
                self._rows, self._is_complete = 0, False
                for number, values in enumerate(result):
                    self._rows = number + 1
                    yield convert_row(dict(zip(names, values, strict=True)), self._validator, f"row {number}")
                self._is_complete = True
        except SQLAlchemyError as error:
            raise PluginError(
                f"database {shown} cannot be read: {describe_database_error(error, self._url)}"
            ) from error
        finally:
            engine.dispose()

    def inputs(self) -> Sequence[ReadInput]:
        """Return the query, after it was executed."""
        if self._rows is None:
            return ()
        return (
            ReadInput(
                input_type="query",
                path_or_uri=mask_url(self._url),
                query_text=self._query,
                rows=self._rows,
                is_complete=self._is_complete,
            ),
        )

    def datasets(self) -> Sequence[Dataset]:
        """Return the tables of the query, if they are known."""
        return [each for table in self._tables if (each := table_dataset(self._url, table)) is not None]


def _find_tables(query: str) -> tuple[str, ...]:
    """Return the table of a query that plainly reads one.

    The result is empty for any other query, because a wrong guess would put a wrong edge into a catalogue.
    """
    found = _ONE_TABLE.fullmatch(query)
    if found is None or any(_OTHER_TABLES.search(found[part]) for part in ("columns", "rest")):
        return ()
    return (found["table"],)


def _accept_undecodable(connection: Connection) -> None:
    """Make SQLite return text that is not UTF-8.

    By default, the driver raises an error that ends the query.
    """
    raw: object = connection.connection.dbapi_connection
    if isinstance(raw, sqlite3.Connection):
        raw.text_factory = _decode


def _decode(content: bytes) -> str:
    return content.decode(errors="surrogateescape")


def _check_url(url: str) -> str:
    problem = driver_problem(parse_database_url(url))
    if problem is not None:
        raise ValueError(problem)
    return url


DatabaseUrl = Annotated[str, AfterValidator(_check_url)]


def database_exists(url: URL) -> bool:
    """Return False for a SQLite file that does not exist.

    Opening it would create an empty file. Returns True for other databases, without contacting them.
    """
    path = _sqlite_path(url)
    return path is None or path.exists()


def make_parent_directory(url: URL) -> None:
    """Make the directory of a SQLite file, durably.

    SQLite itself does not make the directory. Raises OSError if it cannot be made.
    """
    path = _sqlite_path(url)
    if path is not None:
        make_directory(path.parent)


def _sqlite_path(url: URL) -> Path | None:
    if url.get_backend_name() != "sqlite" or url.database in {None, "", ":memory:"}:
        return None
    return Path(str(url.database))


def describe_database_error(error: SQLAlchemyError | ImportError, url: URL) -> str:
    """Return a database driver's message, on one line.

    Secrets of the URL and values of rows are left out.
    """
    is_about_url = isinstance(error, ImportError | ArgumentError)
    said = str(error).splitlines()[0] if is_about_url else recordable_message(error)
    return hide_secrets_of(url.render_as_string(hide_password=False), said)
