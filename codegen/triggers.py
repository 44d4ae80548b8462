"""Triggers that enforce each table's lifecycle in the database.

They prevent accidents and bugs. The owner of the database can drop them; seals and signatures reveal that. Nothing can
be deleted but what belongs to a run in the table that `releases` runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from elspeth.schema.snapshots import Snapshot, TableSnapshot

__all__ = ["Guards", "postgresql_guards", "sqlite_guards"]

_CANNOT_BE_DELETED = "a record cannot be deleted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Guards:
    """The triggers of one engine.

    `statements` replace them, in order. `kept` maps each name to the text that the database stores.
    """

    statements: tuple[str, ...]
    kept: Mapping[str, str]


def sqlite_guards(snapshot: Snapshot) -> Guards:
    """Return the triggers for SQLite.

    SQLite stores the text that created a trigger. `INSERT OR REPLACE` deletes the old row first, which fires the delete
    trigger under `recursive_triggers`.
    """
    kept = {}
    for table in _guarded(snapshot):
        forbidden = _forbidden(table, "IS NOT")
        update = f"BEFORE UPDATE ON {table.name}" + (f" WHEN {forbidden}" if forbidden else "")
        released = _released(table, snapshot)
        delete = f"BEFORE DELETE ON {table.name}" + (f" WHEN NOT {released}" if released else "")
        for event, when, message in (
            ("update", update, _update_message(table)),
            ("delete", delete, f"{table.name}: {_CANNOT_BE_DELETED}"),
        ):
            name = f"guard_{table.name}_{event}"
            kept[name] = f"CREATE TRIGGER {name} {when} BEGIN SELECT RAISE(ABORT, '{message}'); END"
    statements = [each for name, text in kept.items() for each in (f"DROP TRIGGER IF EXISTS {name}", text)]
    return Guards(statements=tuple(statements), kept=kept)


def postgresql_guards(snapshot: Snapshot) -> Guards:
    """Return the triggers for PostgreSQL.

    PostgreSQL stores the body of the function that a trigger calls. ENABLE ALWAYS keeps them on for replication roles
    too.
    """
    refuse_truncate = _refuse(f"TG_TABLE_NAME || ': {_CANNOT_BE_DELETED}'")
    truncate = f"BEGIN {refuse_truncate} END"
    statements, kept = [_function("guard_truncate", truncate)], {}
    for table in _guarded(snapshot):
        function = f"guard_{table.name}"
        body = _postgresql_body(table, _released(table, snapshot))
        statements.append(_function(function, body))
        for name, events, each, called, text in (
            (f"{function}_row", "UPDATE OR DELETE", "ROW", function, body),
            (f"{function}_truncate", "TRUNCATE", "STATEMENT", "guard_truncate", truncate),
        ):
            kept[name] = text
            statements += [
                f"DROP TRIGGER IF EXISTS {name} ON {table.name}",
                f"CREATE TRIGGER {name} BEFORE {events} ON {table.name} FOR EACH {each} EXECUTE FUNCTION {called}()",
                f"ALTER TABLE {table.name} ENABLE ALWAYS TRIGGER {name}",
            ]
    return Guards(statements=tuple(statements), kept=kept)


def _function(name: str, body: str) -> str:
    return f"CREATE OR REPLACE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $${body}$$"


def _postgresql_body(table: TableSnapshot, released: str | None) -> str:
    delete, update = _refuse(f"'{table.name}: {_CANNOT_BE_DELETED}'"), _refuse(f"'{_update_message(table)}'")
    forbidden = _forbidden(table, "IS DISTINCT FROM")
    if forbidden is not None:
        update = f"IF {forbidden} THEN {update} END IF; RETURN NEW;"
    if released is not None:
        delete = f"IF {released} THEN RETURN OLD; END IF; {delete}"
    return f"BEGIN IF TG_OP = 'DELETE' THEN {delete} END IF; {update} END"


def _refuse(message: str) -> str:
    return f"RAISE EXCEPTION USING MESSAGE = {message}, ERRCODE = 'integrity_constraint_violation';"


def _guarded(snapshot: Snapshot) -> list[TableSnapshot]:
    return [table for table in snapshot.tables if table.lifecycle is not None]


def _released(table: TableSnapshot, snapshot: Snapshot) -> str | None:
    """Return the condition for allowing a deletion; None means never."""
    releasing = next((each for each in snapshot.tables if each.releases), None)
    if releasing is None or (table.record_type is None and table.name not in releasing.releases):
        return None
    name = releasing.name
    return f"EXISTS (SELECT 1 FROM {name} WHERE {name}.run_id = OLD.run_id)"  # noqa: S608  a name of the schema


def _forbidden(table: TableSnapshot, differs: str) -> str | None:
    """Return the condition for refusing an update; None means always."""
    lifecycle = table.lifecycle
    if lifecycle is None or not (lifecycle.while_open or lifecycle.afterwards):
        return None
    changing = {*lifecycle.while_open, *lifecycle.afterwards}
    never = [column.name for column in table.columns if column.name not in changing]
    conditions = [f"NEW.{name} {differs} OLD.{name}" for name in never]
    if lifecycle.status is not None:
        closed = [name for name in lifecycle.while_open if name not in lifecycle.afterwards]
        changed = " OR ".join(f"NEW.{name} {differs} OLD.{name}" for name in closed)
        final = ", ".join(f"'{value}'" for value in lifecycle.final)
        conditions.append(f"(OLD.{lifecycle.status} IN ({final}) AND ({changed}))")
    return " OR ".join(conditions)


def _update_message(table: TableSnapshot) -> str:
    return f"{table.name}: a recorded value cannot be changed"
