"""What the lifecycles forbid, the database refuses, whoever asks; what they allow, it lets through.

Every table is filled from the generated strategies and tried column by column: no table is known here by name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Table, and_, delete, insert, select, text, update
from sqlalchemy.exc import DBAPIError

from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.lifecycle import is_open
from elspeth.core.landscape.mapping import mapper, record_type_of
from elspeth.core.landscape.migration.bookkeeping import bookkeeping_tables
from elspeth_schema.contracts import AuditRecord
from elspeth_schema.records import RECORD_TYPES, Kind, RecordType
from elspeth_schema.strategies import whole_runs
from elspeth_schema.tables import metadata
from tests.fixtures.landscapes import NewLandscape

Row = Mapping[str, object]

some = settings(
    max_examples=12,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
)


@contextmanager
def refused(connection: Connection, message: str) -> Iterator[None]:
    """The statement in the block fails with this message, and changes nothing."""
    savepoint = connection.begin_nested()
    with pytest.raises(DBAPIError) as caught:
        yield
    savepoint.rollback()
    said = caught.value.orig
    assert str(said).splitlines()[0] == message


@contextmanager
def let_through(connection: Connection) -> Iterator[None]:
    """The statement in the block is carried out, and taken back."""
    savepoint = connection.begin_nested()
    yield
    savepoint.rollback()


@contextmanager
def without_checks(connection: Connection) -> Iterator[None]:
    """Only the triggers judge: a changed value need not fit the others."""
    checks = [
        f"ALTER TABLE {table.name} DROP CONSTRAINT {constraint.name}"
        for table in metadata.tables.values()
        for constraint in table.constraints
        if constraint.name is not None and not constraint.name.startswith("pk_")
    ]
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("PRAGMA ignore_check_constraints = ON")
        connection.exec_driver_sql("PRAGMA defer_foreign_keys = ON")
    for statement in sorted(checks) if connection.dialect.name == "postgresql" else ():
        connection.execute(text(statement + " CASCADE"))
    yield


def key_of(record_type: RecordType[AuditRecord], row: Row) -> object:
    columns = record_type.table.c
    return and_(*(columns[name] == row[name] for name in record_type.key))


def other(record_type: RecordType[AuditRecord], name: str, value: object) -> object:
    """A value that differs from this one."""
    column = next(column for column in record_type.columns if column.name == name)
    if column.enum is not None:
        return next(str(member) for member in column.enum if str(member) != value)
    if value is None:
        return {Kind.TEXT: "x", Kind.JSON: "{}", Kind.INTEGER: 7, Kind.REAL: 7.5, Kind.BOOLEAN: 1}.get(column.kind)
    return None
