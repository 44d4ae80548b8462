"""The files of an audit database, which no output may touch."""

from __future__ import annotations

from sqlalchemy import URL

from elspeth.core.landscape.database.connections import is_in_memory, sqlite_path
from elspeth.outputs.policy import Extent, Protected

__all__ = ["database_files"]


def database_files(url: URL, what: str = "the audit database") -> tuple[Protected, ...]:
    """Return what the database consists of on this machine: nothing for a server or one in memory."""
    if url.get_backend_name() != "sqlite" or is_in_memory(url):
        return ()
    return (Protected(path=sqlite_path(url), what=what, extent=Extent.DATABASE),)
