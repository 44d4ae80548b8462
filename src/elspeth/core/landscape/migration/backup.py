"""Copies of SQLite databases: complete, on disk, and proved to hold what the original holds."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Connection
from sqlalchemy.engine import make_url

from elspeth.core.landscape.engines import looking_engine
from elspeth.core.landscape.errors import LandscapeError
from elspeth.core.landscape.migration.digest import Content, TableMap, content_of

__all__ = ["back_up", "backup_path", "contents", "verify_backup"]


def backup_path(database: Path, epoch: int) -> Path:
    """Where a backup goes unless the user says otherwise: beside the database, named after epoch and time."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    return database.with_name(f"{database.name}.epoch{epoch}-{stamp}.bak")


def back_up(database: Path, target: Path) -> None:
    """Write a copy of the database, as one consistent state of it. A crash leaves the original and a partial file.

    LandscapeError if the target exists or cannot be written.
    """
    if target.exists():
        message = f"backup {target}: the file exists already. Give another path: --backup PATH"
        raise LandscapeError(message)
    partial = target.with_name(f"{target.name}.partial")
    try:
        partial.unlink(missing_ok=True)
        with closing(sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            connection.execute("VACUUM INTO ?", (str(partial),))
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.replace(target)
        directory = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    except (OSError, sqlite3.Error) as error:
        partial.unlink(missing_ok=True)
        message = f"backup {target} cannot be written: {error}. The database was not changed."
        raise LandscapeError(message) from error


def contents(connection: Connection, tables: tuple[TableMap, ...]) -> dict[str, Content]:
    """What each table holds, by its name before the migration."""
    return {
        table.before: content_of(connection, table.before, tuple(old for old, _ in table.columns)) for table in tables
    }


def verify_backup(target: Path, tables: tuple[TableMap, ...], original: dict[str, Content]) -> None:
    """Open the backup and compare it with what the original holds; LandscapeError if it is not the same."""
    with looking_engine(make_url(f"sqlite:///{target}")).connect() as connection:
        (verdict,) = connection.exec_driver_sql("PRAGMA integrity_check").one()
        found = contents(connection, tables)
    wrong = [name for name, content in original.items() if found[name] != content]
    if verdict != "ok" or wrong:
        message = (
            f"backup {target} does not hold what the database holds (integrity check: {verdict}; "
            f"tables that differ: {', '.join(wrong) or 'none'}). Is another process writing? The database was not changed."
        )
        raise LandscapeError(message)
