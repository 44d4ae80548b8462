"""What is wrong with a record that the database refused, told from the schema.

The messages of the databases differ, name no value, and SQLite's does not even name the reference that leads nowhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from sqlalchemy import Connection, Table, TextClause, UniqueConstraint, exists, select
from sqlalchemy.exc import IntegrityError

from elspeth.contracts.errors import recordable_message
from elspeth.core.landscape.records.lifecycle import check_change
from elspeth.core.landscape.records.mapping import mapper
from elspeth.schema.checks import AuditIntegrityError
from elspeth_schema.contracts import AuditRecord
from elspeth_schema.records import RECORD_TYPES, RecordType

__all__ = ["refusal"]


def refusal(
    connection: Connection,
    record_type: RecordType[AuditRecord],
    row: Mapping[str, object],
    error: IntegrityError,
    *,
    new: bool,
) -> AuditIntegrityError:
    """The rule that a row breaks, judged by what the connection sees; `new` if it was to be inserted."""
    if not new and (finished := _finished(connection, record_type, row)):
        return finished
    problems = _dangling(connection, record_type, row)
    if new:
        problems = [*problems, *_taken(connection, record_type, row)]
    fallback = (record_type.key[-1], "a record that the schema allows", recordable_message(error))
    field, expected, got = next(iter(problems), fallback)
    key = {name: row[name] for name in record_type.key}
    return AuditIntegrityError(table=record_type.table.name, key=key, field=field, expected=expected, got=got)


_Problem = tuple[str, str, object]
"""Field, expected, got."""


def _finished(
    connection: Connection, record_type: RecordType[AuditRecord], row: Mapping[str, object]
) -> AuditIntegrityError | None:
    """What the record no longer allows, if somebody else has changed it since it was read."""
    convert, columns = mapper(record_type), record_type.table.c
    own = convert.select().where(*(columns[name] == row[name] for name in record_type.key))
    try:
        for current in connection.execute(own):
            check_change(record_type, convert.to_row(convert.from_row(current)), row)
    except AuditIntegrityError as error:
        return error
    return None


def _dangling(
    connection: Connection, record_type: RecordType[AuditRecord], row: Mapping[str, object]
) -> list[_Problem]:
    """References that lead nowhere."""
    found: list[_Problem] = []
    for reference in record_type.references:
        target = RECORD_TYPES[reference.record_type]
        values = [row[name] for name in reference.columns]
        if None not in values and not _holds(connection, target.table, target.key, values):
            scope = " of the same run" if len(values) > 1 else ""
            found.append((reference.columns[-1], f"an existing {target.name}{scope}", values[-1]))
    return found


def _taken(connection: Connection, record_type: RecordType[AuditRecord], row: Mapping[str, object]) -> list[_Problem]:
    """Values that must be unique and are not."""
    table, found = record_type.table, list[_Problem]()
    if _holds(connection, table, record_type.key, [row[name] for name in record_type.key]):
        found.append((record_type.key[-1], "a key that is not yet used", row[record_type.key[-1]]))
    for names, condition in _unique(table, connection.dialect.name):
        values = [row[name] for name in names]
        if None not in values and _holds(connection, table, names, values, condition):
            own = [name for name in names if name != "run_id"]
            shown = [row[name] for name in own]
            scope = "" if condition is None else f" with {condition.text}"
            expected = f"what no other {record_type.name} of the same run{scope} has"
            found.append((", ".join(own), expected, shown if len(shown) > 1 else shown[0]))
    return found


def _unique(table: Table, dialect: str) -> Iterator[tuple[Sequence[str], TextClause | None]]:
    """The columns of every unique rule besides the key, and when it holds; conditional ones last."""
    constraints = [each for each in table.constraints if isinstance(each, UniqueConstraint)]
    for constraint in sorted(constraints, key=lambda each: str(each.name)):
        yield constraint.columns.keys(), None
    for index in sorted(table.indexes, key=lambda each: str(each.name)):
        if index.unique:
            yield index.columns.keys(), index.dialect_options[dialect]["where"]


def _holds(
    connection: Connection,
    table: Table,
    names: Sequence[str],
    values: Sequence[object],
    condition: TextClause | None = None,
) -> bool:
    """Whether the table has a row with these values."""
    conditions = [table.c[name] == value for name, value in zip(names, values, strict=True)]
    found = exists().where(*conditions, *([] if condition is None else [condition]))
    return bool(connection.scalar(select(found)))
