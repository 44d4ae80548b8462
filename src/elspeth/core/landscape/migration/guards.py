"""The triggers of a database: those that it must have, and those of somebody else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import Connection

from elspeth_schema import triggers

__all__ = ["OURS", "Trigger", "create_guards", "found_triggers", "guard_differences"]

OURS = "guard_"
"""How the names of our triggers begin."""

_FOUND = {
    "sqlite": "SELECT name, tbl_name, sql, true FROM sqlite_master WHERE type = 'trigger' ORDER BY name",
    "postgresql": """\
SELECT tgname, relname, prosrc, tgenabled = 'A' FROM pg_trigger
JOIN pg_class ON pg_class.oid = tgrelid JOIN pg_proc ON pg_proc.oid = tgfoid
WHERE NOT tgisinternal AND relnamespace = current_schema()::regnamespace ORDER BY tgname""",
}


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


def guard_differences(connection: Connection) -> Iterator[str]:
    """How our triggers differ from those of a new database, one sentence each."""
    found = {trigger.name: trigger for trigger in found_triggers(connection)}
    for name, text in triggers.KEPT[connection.dialect.name].items():
        if name not in found:
            yield f"trigger {name} is missing"
        elif found[name].text != text:
            yield f"trigger {name} is not the one of this epoch"
        elif not found[name].enabled:
            yield f"trigger {name} is switched off, or on only in part"
