"""What PostgreSQL should know of tables that have grown, before it plans to read them.

Every key begins with the run. A server that has never looked at a table takes any index that does for as good as any
other, and may read a whole run to check one reference: recording then takes time with the square of the records. It
looks by itself, but a minute may pass before it does. SQLite does not need this.
"""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Connection, Table, bindparam, text

__all__ = ["GROWN", "learn_sizes"]

GROWN = 1_000
"""Rows from which on a plan made for an empty table is too slow."""

_UNKNOWN = text(
    "SELECT relname FROM pg_class WHERE relnamespace = current_schema()::regnamespace AND relname IN :names"
    " AND reltuples < :grown ORDER BY relname"
).bindparams(bindparam("names", expanding=True))


def learn_sizes(connection: Connection, tables: Iterable[Table]) -> None:
    """Have PostgreSQL look at those of the tables that it takes for small. Nothing to do on SQLite."""
    if connection.dialect.name != "postgresql":
        return
    names = [table.name for table in tables]
    unknown = connection.execute(_UNKNOWN, {"names": names, "grown": GROWN}).scalars().all()
    if unknown:
        connection.exec_driver_sql(f"ANALYZE {', '.join(unknown)}")
