"""Copies of SQLite databases: complete, on disk, and proved to hold what the original holds."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlencode

from sqlalchemy import URL

from elspeth.core.landscape.database.connections import read_only_connection, read_only_parameters
from elspeth.core.landscape.database.errors import LandscapeError
from elspeth.core.landscape.records.digest import Content, TableMap, contents_before
from elspeth.core.landscape.records.progress import Meter
from elspeth.outputs.writing import create_file, sync_directory

__all__ = ["back_up", "backup_path", "copy_database", "verify_backup"]


def backup_path(database: Path, epoch: int) -> Path:
    """Where a backup goes unless the user says otherwise: beside the database, named after epoch and time."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    return database.with_name(f"{database.name}.epoch{epoch}-{stamp}.bak")


def back_up(database: Path, target: Path) -> None:
    """Write a backup, as one consistent state of the database. A crash leaves the original and a partial file.

    LandscapeError if the target exists or cannot be written.
    """
    if target.exists():
        raise LandscapeError(f"backup {target}: the file exists already, give another path (--backup PATH)")
    partial = target.with_name(f"{target.name}.partial")
    try:
        partial.unlink(missing_ok=True)
        create_file(partial, like=database).close()  # with its permissions before it holds anything
        copy_database(database, partial)
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.replace(target)
        sync_directory(target.parent)
    except (OSError, sqlite3.Error) as error:
        partial.unlink(missing_ok=True)
        raise LandscapeError(f"backup {target} cannot be written: {error}") from error


def copy_database(database: Path, target: Path) -> None:
    """Write what the database holds into a new or empty file, without unused pages. sqlite3.Error if that fails."""
    source = f"{database.absolute().as_uri()}?{urlencode(read_only_parameters(database))}"
    with closing(sqlite3.connect(source, uri=True)) as connection:
        connection.execute("VACUUM INTO ?", (str(target),))


def verify_backup(target: Path, tables: tuple[TableMap, ...], original: dict[str, Content], meter: Meter) -> None:
    """Open the backup and compare it with what the original holds; LandscapeError if it is not the same."""
    with read_only_connection(URL.create("sqlite", database=str(target))) as connection:
        (verdict,) = connection.exec_driver_sql("PRAGMA integrity_check(1)").one()
        found = contents_before(connection, tables, meter)
    wrong = [name for name, content in original.items() if found[name] != content]
    if verdict != "ok" or wrong:
        raise LandscapeError(
            f"backup {target} does not hold what the database holds (integrity check: {verdict}; "
            f"tables that differ: {', '.join(wrong) or 'none'}); another process may have written meanwhile"
        )
