"""The files that sinks wrote, as the audit database names them: what a sink may replace."""

from __future__ import annotations

import hashlib
from pathlib import Path

from sqlalchemy import Connection, select

from elspeth.core.canonical import stable_hash
from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.database.connections import is_in_memory, parse_url, read_only_connection, sqlite_path
from elspeth.core.landscape.database.errors import LandscapeError
from elspeth.outputs.policy import identity_of
from elspeth_schema.tables import artifacts_table, operations_table

__all__ = ["objection_in", "objection_of", "objection_without_database", "output_summary"]

_WHAT_TO_DO = "move it away, or use --force"
_UNKNOWN = f"is no output that the audit database names: {_WHAT_TO_DO}"

_artifacts, _operations = artifacts_table.c, operations_table.c


def output_summary(*, rows: int, path: str, content_hash: str, size_bytes: int) -> dict[str, object]:
    """Return what is recorded of a published output with the operation that wrote it."""
    return {"rows": rows, "path": path, "content_hash": content_hash, "size_bytes": size_bytes}


def objection_of(url: str, path: Path) -> str | None:
    """Return why a sink may not replace a file, None if the database at the URL names the file as an output.

    None also for a database that cannot be read: a run that needs it says why, and asks again.
    """
    try:
        parsed = parse_url(url)
        if is_in_memory(parsed) or (parsed.get_backend_name() == "sqlite" and not sqlite_path(parsed).exists()):
            return _UNKNOWN
        with read_only_connection(parsed) as connection:
            return _objection(connection, path)
    except LandscapeError:
        return None


def objection_in(db: LandscapeDB, path: Path) -> str | None:
    """Return why a sink may not replace a file, None if the database names the file as an output.

    It does so by the SHA-256 of the content: a file that was changed since is somebody's work.
    """
    with db.connection() as connection:
        return _objection(connection, path)


def objection_without_database(path: Path) -> str:  # noqa: ARG001  whatever it is
    """Return why a sink may not replace a file if no audit database is kept that could name it."""
    return f"is there already, and no audit database says that it is an earlier output: {_WHAT_TO_DO}"


def _objection(connection: Connection, path: Path) -> str | None:
    size = path.stat().st_size
    with path.open("rb") as file:
        content_hash = hashlib.file_digest(file, "sha256").hexdigest()
    known = select(_artifacts.path_or_uri).where(_artifacts.content_hash == content_hash, _artifacts.size_bytes == size)
    if any(_is_same(path, recorded) for recorded in connection.execute(known).scalars()):
        return None
    # An output without rows has no artifact: that would name the state of a row.
    summary = output_summary(rows=0, path=str(path), content_hash=content_hash, size_bytes=size)
    without_rows = select(_operations.run_id).where(_operations.output_data_hash == stable_hash(summary)).limit(1)
    if connection.execute(without_rows).first() is not None:
        return None
    writers = (
        select(_artifacts.run_id)
        .where(_artifacts.path_or_uri == str(path))
        .order_by(_artifacts.created_at.desc(), _artifacts.run_id.desc())
        .limit(1)
    )
    writer = connection.execute(writers).scalar()
    return _UNKNOWN if writer is None else f"is not as run {writer} wrote it: {_WHAT_TO_DO}"


def _is_same(path: Path, recorded: str) -> bool:
    return str(path) == recorded or identity_of(path) == identity_of(Path(recorded))
