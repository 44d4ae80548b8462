"""Hashes the complete catalog of a database."""

from __future__ import annotations

import hashlib
import json

from sqlalchemy import Connection

__all__ = ["catalog_digest"]

_CATALOGS = {
    "sqlite": ("SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY type, name, tbl_name",),
    "postgresql": (
        """\
SELECT relname, relkind, relpersistence, relrowsecurity, attname, format_type(atttypid, atttypmod), attnotnull,
    attcollation, attidentity, attgenerated, pg_get_expr(adbin, adrelid)
FROM pg_class LEFT JOIN pg_attribute ON attrelid = pg_class.oid AND attnum > 0 AND NOT attisdropped
    LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
WHERE relnamespace = current_schema()::regnamespace ORDER BY relname, attnum""",
        """\
SELECT relname, conname, contype, convalidated, pg_get_constraintdef(pg_constraint.oid)
FROM pg_constraint JOIN pg_class ON pg_class.oid = conrelid
WHERE relnamespace = current_schema()::regnamespace ORDER BY relname, conname""",
        """\
SELECT relname, indisvalid, pg_get_indexdef(indexrelid)
FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
WHERE relnamespace = current_schema()::regnamespace ORDER BY relname, pg_get_indexdef(indexrelid)""",
        """\
SELECT relname, tgname, tgenabled, tgtype, tgqual IS NULL, tgattr::text, prosrc
FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid JOIN pg_proc ON pg_proc.oid = tgfoid
WHERE NOT tgisinternal AND relnamespace = current_schema()::regnamespace ORDER BY relname, tgname""",
        """\
SELECT tablename, rulename, definition FROM pg_rules
WHERE schemaname = current_schema() ORDER BY tablename, rulename""",
    ),
}


def catalog_digest(connection: Connection) -> bytes:
    """Return the SHA-256 of the catalog's entries.

    It covers tables, columns, constraints, indexes, triggers and rules. Everything that reflection returns is derived
    from these entries, so an equal digest means an equal result. On SQLite it covers the whole schema, on PostgreSQL
    the current one.
    """
    digest = hashlib.sha256()
    for statement in _CATALOGS[connection.dialect.name]:
        entries = [list(entry) for entry in connection.exec_driver_sql(statement)]
        digest.update(json.dumps(entries, default=str).encode())
    return digest.digest()
