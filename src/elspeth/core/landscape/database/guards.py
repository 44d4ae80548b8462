"""The triggers of a database: those that it must have, and those of somebody else."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from sqlalchemy import Connection

from elspeth_schema import triggers

__all__ = ["OURS", "Trigger", "create_guards", "found_triggers", "guard_differences"]

OURS = "guard_"
"""How the names of our triggers begin."""

_FOUND = {
    "sqlite": "SELECT name, tbl_name, sql, true FROM sqlite_master WHERE type = 'trigger' ORDER BY name",
    # 27: before, for each row, on UPDATE and DELETE; 34: before, for each statement, on TRUNCATE
    "postgresql": """\
SELECT tgname, relname, prosrc,
    tgenabled = 'A' AND tgqual IS NULL AND tgattr = ''
    AND tgtype = CASE right(tgname, 4) WHEN '_row' THEN 27 ELSE 34 END
FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid JOIN pg_proc ON pg_proc.oid = tgfoid
WHERE NOT tgisinternal AND relnamespace = current_schema()::regnamespace ORDER BY tgname, relname""",
}

_OTHER_MEANS = {
    "sqlite": {},
    "postgresql": {
        "rule {} on {}": """\
SELECT rulename, tablename FROM pg_rules WHERE schemaname = current_schema() ORDER BY rulename, tablename""",
        "row security of {1}": """\
SELECT relname, relname FROM pg_class WHERE relrowsecurity AND relnamespace = current_schema()::regnamespace
ORDER BY relname""",
    },
}
"""By what else, than triggers, a database may record other things than it is told, or show other things than it has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trigger:
    """A trigger: its name, its table, the text that the database keeps of it, and whether it is always on."""

    name: str
    table: str
    text: str
    enabled: bool


def create_guards(connection: Connection) -> None:
    """Create our triggers, in place of those that there are."""
    for statement in triggers.STATEMENTS[connection.dialect.name]:
        connection.exec_driver_sql(statement)


def found_triggers(connection: Connection) -> list[Trigger]:
    """All triggers of the database, by name."""
    return [
        Trigger(name=name, table=table, text=text, enabled=bool(enabled))
        for name, table, text, enabled in connection.exec_driver_sql(_FOUND[connection.dialect.name])
    ]


def guard_differences(connection: Connection, tables: Collection[str]) -> Iterator[str]:
    """Yield how what guards these tables differs from a new database, one sentence each.

    Whatever else may act on their records is a difference, too.
    """
    engine = connection.dialect.name
    kept = triggers.KEPT[engine]
    found = {(trigger.table, trigger.name): trigger for trigger in found_triggers(connection)}
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
    for described, statement in _OTHER_MEANS[engine].items():
        for name, table in connection.exec_driver_sql(statement):
            if table in tables:
                yield f"{described.format(name, table)} is not expected"


def _table_of(trigger: str) -> str:
    """Return the table of one of our triggers, which is in its name."""
    return trigger.removeprefix(OURS).rpartition("_")[0]
