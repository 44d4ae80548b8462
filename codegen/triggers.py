"""Triggers that let a database refuse what its lifecycle forbids, whoever asks for it.

They stop accidents and our own bugs. Whoever owns the database can drop them; seals and signatures reveal that.
"""

from __future__ import annotations

from codegen.snapshot import LifecycleShape, Snapshot, TableShape

__all__ = ["BOOKKEEPING", "guard_names", "postgresql_guards", "sqlite_guards"]

BOOKKEEPING = "schema_migrations"
"""The table in which the database's own history is written, as immutable as the records."""


def guard_names(snapshot: Snapshot) -> dict[str, list[str]]:
    """The names of all triggers per engine, to see whether a database still has them."""
    tables = [table.name for table in _guarded(snapshot)]
    return {
        "sqlite": sorted(f"guard_{table}_{event}" for table in tables for event in ("update", "delete")),
        "postgresql": sorted(f"guard_{table}_{event}" for table in tables for event in ("row", "truncate")),
    }


def sqlite_guards(snapshot: Snapshot) -> list[str]:
    """The statements that create the triggers on SQLite.

    `INSERT OR REPLACE` deletes the old row first, which fires the delete trigger under `recursive_triggers`.
    """
    statements = []
    for table in _guarded(snapshot):
        forbidden = _forbidden(table, "IS NOT")
        update = f"BEFORE UPDATE ON {table.name}" + (f" WHEN {forbidden}" if forbidden else "")
        for event, when, message in (
            ("update", update, _update_message(table)),
            ("delete", f"BEFORE DELETE ON {table.name}", _delete_message(table)),
        ):
            action = f"BEGIN SELECT RAISE(ABORT, '{message}'); END"
            statements.append(f"CREATE TRIGGER guard_{table.name}_{event} {when} {action}")
    return statements


def postgresql_guards(snapshot: Snapshot) -> list[str]:
    """The statements that create the triggers on PostgreSQL; ENABLE ALWAYS keeps them on for replication roles too."""
    statements = []
    for table in _guarded(snapshot):
        forbidden = _forbidden(table, "IS DISTINCT FROM") or "true"
        function = f"guard_{table.name}()"
        refuse = "RAISE EXCEPTION '{}' USING ERRCODE = 'integrity_constraint_violation'; END IF; "
        delete = "IF TG_OP <> 'UPDATE' THEN " + refuse.format(_delete_message(table))
        update = f"IF {forbidden} THEN " + refuse.format(_update_message(table))
        body = f"$$ BEGIN {delete}{update}RETURN NEW; END $$"
        statements.append(f"CREATE OR REPLACE FUNCTION {function} RETURNS trigger LANGUAGE plpgsql AS {body}")
        for name, events in (("row", "UPDATE OR DELETE"), ("truncate", "TRUNCATE")):
            trigger = f"guard_{table.name}_{name}"
            each = "ROW" if name == "row" else "STATEMENT"
            statements += [
                f"CREATE TRIGGER {trigger} BEFORE {events} ON {table.name} FOR EACH {each} EXECUTE FUNCTION {function}",
                f"ALTER TABLE {table.name} ENABLE ALWAYS TRIGGER {trigger}",
            ]
    return statements


def _guarded(snapshot: Snapshot) -> list[TableShape]:
    immutable = LifecycleShape(status=None, final=(), while_open=(), afterwards=())
    return [
        *(table for table in snapshot.tables if table.lifecycle is not None),
        TableShape(name=BOOKKEEPING, columns=(), lifecycle=immutable),
    ]


def _forbidden(table: TableShape, differs: str) -> str | None:
    """The condition under which an update must be refused; None if every update must."""
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


def _update_message(table: TableShape) -> str:
    return f"{table.name}: a recorded value cannot be changed"


def _delete_message(table: TableShape) -> str:
    return f"{table.name}: a record cannot be deleted"
