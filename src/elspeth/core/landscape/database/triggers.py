"""Triggers, and other objects that may change stored rows."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from sqlalchemy import Connection

from elspeth_schema import triggers

__all__ = ["TRIGGER_PREFIX", "Trigger", "compare_triggers", "read_triggers"]


TRIGGER_PREFIX = "guard_"
"""The prefix of the names of elspeth's triggers."""


_TRIGGERS = {
    "sqlite": "SELECT name, tbl_name, sql, true FROM sqlite_master WHERE type = 'trigger' ORDER BY name",
    # 27: before, for each row, on UPDATE and DELETE; 34: before, for each statement, on TRUNCATE
    "postgresql": """\
SELECT tgname, relname, prosrc,
    tgenabled = 'A' AND tgqual IS NULL AND tgattr = ''
    AND tgtype = CASE right(tgname, 4) WHEN '_row' THEN 27 ELSE 34 END
FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid JOIN pg_proc ON pg_proc.oid = tgfoid
WHERE NOT tgisinternal AND relnamespace = current_schema()::regnamespace ORDER BY tgname, relname""",
}


_OTHER_INTERFERENCE = {
    "sqlite": {},
    "postgresql": {
        "rule {} on {}": """\
SELECT rulename, tablename FROM pg_rules WHERE schemaname = current_schema() ORDER BY rulename, tablename""",
        "row security of {1}": """\
SELECT relname, relname FROM pg_class WHERE relrowsecurity AND relnamespace = current_schema()::regnamespace
ORDER BY relname""",
    },
}
"""Queries for the other means by which a database may store or show something else than was written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trigger:
    """A trigger of the database.

    `text` is its definition as the database stores it. `enabled` tells whether it fires for every row and statement,
    and for every replication role of a session.
    """

    name: str
    table: str
    text: str
    enabled: bool


def read_triggers(connection: Connection) -> list[Trigger]:
    """Return all triggers of the database, by name."""
    return [
        Trigger(name=name, table=table, text=text, enabled=bool(enabled))
        for name, table, text, enabled in connection.exec_driver_sql(_TRIGGERS[connection.dialect.name])
    ]


def compare_triggers(connection: Connection, tables: Collection[str]) -> Iterator[str]:
    """Yield differences from a new database's triggers as sentences.

    Anything else that may interfere with these tables is a difference, too.
    """
    engine = connection.dialect.name
    kept = triggers.KEPT[engine]
    found = {(trigger.table, trigger.name): trigger for trigger in read_triggers(connection)}
    ours = {(_table_of(name), name): text for name, text in kept.items()}
    for key, text in ours.items():
        if key not in found:
            yield f"trigger {key[1]} is missing"
        elif found[key].text != text:
            yield f"trigger {key[1]} is not the one of this epoch"
        elif not found[key].enabled:
            yield f"trigger {key[1]} is switched off, or on only in part"
    for table, name in sorted(found.keys() - ours.keys()):
        if table in tables:
            yield f"trigger {name} on {table} is not expected"
    for described, statement in _OTHER_INTERFERENCE[engine].items():
        for name, table in connection.exec_driver_sql(statement):
            if table in tables:
                yield f"{described.format(name, table)} is not expected"


def _table_of(trigger: str) -> str:
    """Return the table that a trigger's name contains."""
    return trigger.removeprefix(TRIGGER_PREFIX).rpartition("_")[0]
