"""Rules among records: what may change, references and unique values.

The schema declares them, and the database enforces them. The messages of databases differ and name no values, and
SQLite does not even name the broken reference. So this module finds the broken rule from the schema.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from sqlalchemy import Connection, Table, TextClause, UniqueConstraint, exists, select
from sqlalchemy.exc import IntegrityError

from elspeth.contracts.errors import recordable_message
from elspeth.core.canonical import timestamp_text
from elspeth.core.landscape.records.mapping import mapper
from elspeth.schema.checks import AuditIntegrityError
from elspeth_schema.contracts import AuditRecord
from elspeth_schema.records import RECORD_TYPES, RecordType

__all__ = ["check_change", "explain_refusal", "is_open"]

_Problem = tuple[str, str, object]
"""Field, expected, got."""


# -- lifecycles ------------------------------------------------------------------------------------------------------


def is_open(record_type: RecordType[AuditRecord], row: Mapping[str, object]) -> bool:
    """Return whether a record's status can still change.

    `row` holds database values by column name.
    """
    status = record_type.lifecycle.status
    if status is None:
        return False
    column = next(column for column in record_type.columns if column.name == status)
    if column.enum is None:
        return False
    value = column.enum(str(row[status]))
    return not getattr(value, "is_terminal", False)


def check_change(record_type: RecordType[AuditRecord], old: Mapping[str, object], new: Mapping[str, object]) -> None:
    """Check that the lifecycle lets a record change this way.

    Both rows hold database values by column name. Raises AuditIntegrityError if it does not.
    """
    lifecycle = record_type.lifecycle
    allowed = lifecycle.afterwards | (lifecycle.while_open if is_open(record_type, old) else frozenset())
    for name, value in new.items():
        if value == old[name] or name in allowed:
            continue
        when = f"while {lifecycle.status} is {old[lifecycle.status]}" if lifecycle.status else "after it was recorded"
        raise AuditIntegrityError(
            table=record_type.table.name,
            key={part: old[part] for part in record_type.key},
            field=name,
            expected=f"{_displayed(old[name])!r}, unchanged {when}",
            got=_displayed(value),
        )


def _displayed(value: object) -> object:
    return timestamp_text(value) if isinstance(value, datetime) else value


# -- what a database refused -----------------------------------------------------------------------------------------


def explain_refusal(
    connection: Connection,
    record_type: RecordType[AuditRecord],
    row: Mapping[str, object],
    error: IntegrityError,
    *,
    new: bool,
) -> AuditIntegrityError:
    """Return the error for a row that the database refused.

    `new` tells whether the row was to be inserted. The broken rule is found from the rows that the connection sees.
    """
    if not new and (finished := _forbidden_change(connection, record_type, row)):
        return finished
    problems = _dangling_references(connection, record_type, row)
    if new:
        problems = [*problems, *_repeated_values(connection, record_type, row)]
    fallback = (record_type.key[-1], "a record that the schema allows", recordable_message(error))
    field, expected, got = next(iter(problems), fallback)
    key = {name: row[name] for name in record_type.key}
    return AuditIntegrityError(table=record_type.table.name, key=key, field=field, expected=expected, got=got)


def _forbidden_change(
    connection: Connection, record_type: RecordType[AuditRecord], row: Mapping[str, object]
) -> AuditIntegrityError | None:
    """Return the error if another process has changed the record."""
    convert, columns = mapper(record_type), record_type.table.c
    own = convert.select().where(*(columns[name] == row[name] for name in record_type.key))
    try:
        for current in connection.execute(own):
            check_change(record_type, convert.to_row(convert.from_row(current)), row)
    except AuditIntegrityError as error:
        return error
    return None


def _dangling_references(
    connection: Connection, record_type: RecordType[AuditRecord], row: Mapping[str, object]
) -> list[_Problem]:
    """Return a problem for each reference to a missing record."""
    found: list[_Problem] = []
    for reference in record_type.references:
        target = RECORD_TYPES[reference.record_type]
        values = [row[name] for name in reference.columns]
        if None not in values and not _row_exists(connection, target.table, target.key, values):
            scope = " of the same run" if len(values) > 1 else ""
            found.append((reference.columns[-1], f"an existing {target.name}{scope}", values[-1]))
    return found


def _repeated_values(
    connection: Connection, record_type: RecordType[AuditRecord], row: Mapping[str, object]
) -> list[_Problem]:
    """Return a problem for each value that is not unique."""
    table, found = record_type.table, list[_Problem]()
    if _row_exists(connection, table, record_type.key, [row[name] for name in record_type.key]):
        found.append((record_type.key[-1], "a key that is not yet used", row[record_type.key[-1]]))
    for names, condition in _unique_rules(table, connection.dialect.name):
        values = [row[name] for name in names]
        if None not in values and _row_exists(connection, table, names, values, condition):
            own = [name for name in names if name != "run_id"]
            shown = [row[name] for name in own]
            scope = "" if condition is None else f" with {condition.text}"
            expected = f"what no other {record_type.name} of the same run{scope} has"
            found.append((", ".join(own), expected, shown if len(shown) > 1 else shown[0]))
    return found


def _unique_rules(table: Table, dialect: str) -> Iterator[tuple[Sequence[str], TextClause | None]]:
    """Yield columns and condition of each unique rule.

    The key is left out. Rules with a condition come last.
    """
    constraints = [each for each in table.constraints if isinstance(each, UniqueConstraint)]
    for constraint in sorted(constraints, key=lambda each: str(each.name)):
        yield constraint.columns.keys(), None
    for index in sorted(table.indexes, key=lambda each: str(each.name)):
        if index.unique:
            yield index.columns.keys(), index.dialect_options[dialect]["where"]


def _row_exists(
    connection: Connection,
    table: Table,
    names: Sequence[str],
    values: Sequence[object],
    condition: TextClause | None = None,
) -> bool:
    conditions = [table.c[name] == value for name, value in zip(names, values, strict=True)]
    found = exists().where(*conditions, *([] if condition is None else [condition]))
    return bool(connection.scalar(select(found)))
