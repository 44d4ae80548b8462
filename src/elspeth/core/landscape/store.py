"""Writes records in groups and reads them back, those of the open group included.

A *unit* is one transaction: everything recorded inside it is committed together at its end, or not at all. Units nest;
the outermost decides. Records wait in memory until the unit ends or something is read that they could change, then go
to the database with one statement per table and kind of change.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import TypeVar

from sqlalchemy import ColumnElement, Connection, Select, and_, bindparam, insert, select, update
from sqlalchemy.exc import IntegrityError

from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.lifecycle import check_change
from elspeth.core.landscape.mapping import mapper, record_type_of
from elspeth_schema import tables
from elspeth_schema.checks import AuditIntegrityError
from elspeth_schema.contracts import AuditRecord
from elspeth_schema.records import RECORD_TYPES, RecordType

__all__ = ["RecordStore"]

R = TypeVar("R", bound=AuditRecord)

_Key = tuple[object, ...]
_Rows = dict[_Key, dict[str, object]]


class RecordStore:
    """The records of one database, for one recorder. Calls from several threads take turns; a unit belongs to one."""

    def __init__(self, db: LandscapeDB) -> None:
        self._db = db
        self._lock = threading.RLock()
        self._depth = 0
        self._transaction: ExitStack | None = None
        self._connection: Connection | None = None
        self._inserts: dict[str, _Rows] = {}
        self._updates: dict[str, _Rows] = {}

    # -- units -------------------------------------------------------------------------------------------------------

    @contextmanager
    def unit(self) -> Iterator[None]:
        """Everything recorded in the block is committed at its end; an exception in it discards all of it.

        A crash inside the block leaves nothing of it; a crash after it leaves all of it.
        """
        with self._lock:
            self._depth += 1
            try:
                yield
                if self._depth == 1:
                    self._commit()
            except BaseException as error:
                if self._depth == 1:
                    self._discard(error)
                raise
            finally:
                self._depth -= 1

    def _commit(self) -> None:
        self._flush()
        transaction, self._transaction, self._connection = self._transaction, None, None
        if transaction is not None:
            transaction.close()

    def _discard(self, error: BaseException) -> None:
        self._inserts.clear()
        self._updates.clear()
        transaction, self._transaction, self._connection = self._transaction, None, None
        if transaction is not None:
            transaction.__exit__(type(error), error, error.__traceback__)

    def _writing(self) -> Connection:
        if self._connection is None:
            transaction = ExitStack()
            self._connection = transaction.enter_context(self._db.writing())
            self._transaction = transaction
        return self._connection

    # -- writing -----------------------------------------------------------------------------------------------------

    def add(self, *new: AuditRecord) -> None:
        """Record new records; AuditIntegrityError when the unit ends, or at once for a key used twice in it."""
        with self.unit():
            for record in new:
                record_type = record_type_of(record)
                row = mapper(record_type).to_row(record)
                key = tuple(row[name] for name in record_type.key)
                waiting = self._inserts.setdefault(record_type.name, {})
                if key in waiting:
                    raise _key_error(record_type, key, "a key that is not yet used", "a second record with it")
                waiting[key] = row

    def change(self, before: AuditRecord, after: AuditRecord) -> None:
        """Replace a record; AuditIntegrityError if the schema's lifecycle does not allow the change."""
        record_type = record_type_of(after)
        old, new = mapper(record_type).to_row(before), mapper(record_type).to_row(after)
        check_change(record_type, old, new)
        key = tuple(new[name] for name in record_type.key)
        with self.unit():
            waiting = self._inserts.get(record_type.name, {})
            if key in waiting:
                waiting[key] = new
            else:
                self._updates.setdefault(record_type.name, {})[key] = new

    def _flush(self) -> None:
        """Send what waits to the database, tables in creation order so that references find their targets."""
        if not self._inserts and not self._updates:
            return
        connection = self._writing()
        for name, record_type in RECORD_TYPES.items():
            if inserts := self._inserts.get(name):
                try:
                    connection.execute(insert(record_type.table), list(inserts.values()))
                except IntegrityError as error:
                    raise self._refusal(record_type, inserts, error) from error
        for name, rows in self._updates.items():
            _update(connection, RECORD_TYPES[name], rows)
        self._inserts.clear()
        self._updates.clear()

    def _refusal(
        self, record_type: RecordType[AuditRecord], inserts: _Rows, error: IntegrityError
    ) -> AuditIntegrityError:
        """What the database refused. The rows are tried one by one in a new transaction, to find the one at fault."""
        self._discard_transaction(error)
        earlier = [each for each in RECORD_TYPES.values() if each.name in self._inserts]
        culprit, reason = next(iter(inserts)), error.orig
        with ExitStack() as stack:
            connection = stack.enter_context(self._db.engine.connect())
            trial = connection.begin()
            stack.callback(trial.rollback)
            for each in earlier:
                for key, row in self._inserts[each.name].items():
                    try:
                        connection.execute(insert(each.table), row)
                    except IntegrityError as single:
                        return _key_error(each, key, "a record that the schema allows", single.orig)
        return _key_error(record_type, culprit, "a record that the schema allows", reason)

    def _discard_transaction(self, error: BaseException) -> None:
        transaction, self._transaction, self._connection = self._transaction, None, None
        if transaction is not None:
            transaction.__exit__(type(error), error, error.__traceback__)

    # -- reading -----------------------------------------------------------------------------------------------------

    def get(self, record_type: RecordType[R], key: str, *, run_id: str | None = None) -> R | None:
        """The record with the key (the key's last part, and the run where it is known), or None.

        AuditIntegrityError if no run is given and several runs have such a record.
        """
        if run_id is not None:
            return self.get_by_key(record_type, run_id, key)
        *_, name = record_type.key
        # Each primary key begins with the run: probing it once per run beats reading the whole index.
        runs = select(tables.runs_table.c.run_id)
        within = record_type.table.c.run_id.in_(runs)
        found = self.select(record_type, within, record_type.table.c[name] == key)
        if len(found) > 1:
            owners = ", ".join(sorted(record.run_id for record in found))
            raise _key_error(record_type, (None, key), "a key that one run uses; pass run_id", f"runs {owners}")
        return next(iter(found), None)

    def get_by_key(self, record_type: RecordType[R], *key: str) -> R | None:
        """The record with the whole key, or None."""
        with self._lock:
            for waiting in (self._inserts, self._updates):
                if row := waiting.get(record_type.name, {}).get(key):
                    return mapper(record_type).from_row(list(row.values()))
            columns = record_type.table.c
            found = self.select(
                record_type, *(columns[name] == part for name, part in zip(record_type.key, key, strict=True))
            )
            return next(iter(found), None)

    def require(self, record_type: RecordType[R], key: str, *, run_id: str | None = None) -> R:
        """The record with the key; AuditIntegrityError if there is none."""
        record = self.get(record_type, key, run_id=run_id)
        if record is None:
            raise _key_error(record_type, (run_id, key), "an existing record", None)
        return record

    def select(self, record_type: RecordType[R], *conditions: ColumnElement[bool]) -> list[R]:
        """The records that meet all conditions, in export order."""
        columns = record_type.table.c
        order = [columns[name] for name in record_type.order]
        statement = select(record_type.table).where(and_(*conditions)).order_by(*order)
        convert = mapper(record_type).from_row
        return [convert(row) for row in self.rows(statement)]

    def rows(self, statement: Select[*tuple[object, ...]]) -> list[tuple[object, ...]]:
        """The rows of a statement over any tables, what waits included."""
        with self._lock:
            if self._inserts or self._updates:
                self._flush()
            if self._connection is not None:
                return [tuple(row) for row in self._connection.execute(statement)]
            with self._db.connection() as connection:
                return [tuple(row) for row in connection.execute(statement)]


def _update(connection: Connection, record_type: RecordType[AuditRecord], rows: _Rows) -> None:
    """Write the changed rows: of each the columns that may change, so that one statement serves them all."""
    lifecycle = record_type.lifecycle
    changing = sorted(lifecycle.while_open | lifecycle.afterwards)
    columns = record_type.table.c
    statement = (
        update(record_type.table)
        .where(*(columns[name] == bindparam(f"key_{name}") for name in record_type.key))
        .values({name: bindparam(f"new_{name}") for name in changing})
    )
    connection.execute(
        statement,
        [
            {f"key_{name}": row[name] for name in record_type.key} | {f"new_{name}": row[name] for name in changing}
            for row in rows.values()
        ],
    )


def _key_error(record_type: RecordType[AuditRecord], key: _Key, expected: str, got: object) -> AuditIntegrityError:
    named: Mapping[str, object] = dict(zip(record_type.key, key, strict=False))
    known = {name: value for name, value in named.items() if value is not None}
    *_, field = record_type.key
    return AuditIntegrityError(
        table=record_type.table.name, key=known, field=field, expected=expected, got=str(got) if got else None
    )
