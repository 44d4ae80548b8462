"""Reading an older database without touching it: a copy of it is migrated and read instead."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from sqlalchemy import URL, NullPool, create_engine, insert, select

from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.engines import looking_engine, parsed_url, sqlite_path
from elspeth.core.landscape.migration.backup import back_up
from elspeth.core.landscape.migration.migrate import migrate
from elspeth.core.landscape.migration.state import Condition, look
from elspeth_schema.migrations import revision

__all__ = ["open_for_reading"]

_FETCH = 1000


@contextmanager
def open_for_reading(url: str) -> Iterator[LandscapeDB]:
    """The database, or, if it is of an older epoch, a private copy of it in today's; the original stays as it is.

    The copy is a SQLite file in a temporary directory, whatever the original is, and goes when the block ends. Raises
    what LandscapeDB raises for a database that is neither.
    """
    parsed = parsed_url(url)
    state = look(parsed)
    if state.kind is not Condition.OLDER or state.epoch is None:
        with LandscapeDB.from_url(url, create_tables=False) as database:
            yield database
        return
    with TemporaryDirectory(prefix="elspeth-") as directory:
        copy = Path(directory) / "copy.db"
        if parsed.get_backend_name() == "sqlite":
            back_up(sqlite_path(parsed), copy)
        else:
            _copy_rows(parsed, state.epoch, copy)
        migrate(f"sqlite:///{copy}", no_backup=True)
        with LandscapeDB.from_url(f"sqlite:///{copy}", create_tables=False) as database:
            yield database


def _copy_rows(source: URL, epoch: int, target: Path) -> None:
    """A SQLite database of the same epoch with the same rows."""
    metadata = revision(epoch).metadata
    engine = create_engine(f"sqlite:///{target}", poolclass=NullPool)
    with looking_engine(source).connect() as reading, engine.begin() as writing:
        metadata.create_all(writing)
        for table in metadata.sorted_tables:
            statement = select(table).execution_options(yield_per=_FETCH)
            for rows in reading.execute(statement).mappings().partitions():
                writing.execute(insert(table), [dict(row) for row in rows])
