"""Stores records in units of work.

A *unit* is one transaction: everything recorded inside it is committed together at its end, or not at all. Units nest,
and the outermost one decides. Records wait in memory until the unit ends, or until a read might see them. Then they are
sent to the database with one statement per table and kind of change. So reads include the waiting records.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from functools import partial
from typing import TypeVar

from sqlalchemy import ColumnElement, Connection, Select, select
from sqlalchemy.exc import DBAPIError, IntegrityError

from elspeth.core.landscape.database import LandscapeDB, LandscapeError
from elspeth.core.landscape.database.claim import Claim, claim_run
from elspeth.core.landscape.database.tables import GROWN, analyze_grown_tables
from elspeth.core.landscape.database.writing import insert_rows, stored_times
from elspeth.core.landscape.records.integrity import check_change, explain_refusal
from elspeth.core.landscape.records.mapping import mapper
from elspeth.core.landscape.records.rows import ROW_FORMS, update_records
from elspeth.core.payload_store import DeferredPayloads
from elspeth.schema.checks import AuditIntegrityError
from elspeth_schema import tables
from elspeth_schema.contracts import AuditRecord, RunStatus
from elspeth_schema.conversions import Row
from elspeth_schema.records import RECORD_TYPES, RecordType

__all__ = ["RecordStore", "WaitingRows"]

R = TypeVar("R", bound=AuditRecord)

_RUN = "run"

_Key = tuple[object, ...]
_Rows = dict[_Key, Row]

WaitingRows = Mapping[str, Mapping[_Key, Row]]
"""The rows to be inserted, by record type and key."""


class RecordStore:
    """The records of one database, for one recorder.

    Calls from several threads take turns; a unit belongs to one thread. The payloads given to `commit_after` are
    durable before the records of a unit are committed.
    """

    def __init__(self, db: LandscapeDB) -> None:
        self._db = db
        self._begin: Callable[[], AbstractContextManager[Connection]] = db.write_transaction
        self._prepare(db.engine.dialect.name)

    def _prepare(self, dialect: str) -> None:
        self._lock = threading.RLock()
        self._depth = 0
        self._failed = False
        self._transaction: ExitStack | None = None
        self._connection: Connection | None = None
        self._time = stored_times(dialect).of_moment
        self._inserts: dict[str, _Rows] = {}
        self._updates: dict[str, _Rows] = {}
        self._added = 0
        self._deferred: list[DeferredPayloads] = []
        self._open_runs: set[str] = set()
        self._changed: set[str] = set()

    def commit_after(self, payloads: DeferredPayloads) -> None:
        """Make payloads of a store durable before each commit."""
        if payloads not in self._deferred:
            self._deferred.append(payloads)

    # -- units -------------------------------------------------------------------------------------------------------

    @contextmanager
    def unit(self) -> Iterator[None]:
        """Commit everything recorded in the block at its end.

        An exception or a crash inside the block discards all of its records; a crash after the block loses none.
        """
        with self._lock:
            self._depth += 1
            try:
                yield
                if self._depth == 1:
                    self._commit()
            except BaseException as error:
                self._failed = True
                if self._depth == 1:
                    self._discard(error)
                raise
            finally:
                self._depth -= 1

    @contextmanager
    def claim_run(self, run_id: str) -> Iterator[Claim]:
        """Hold the claim on a run while the block lasts.

        Every unit proves that the claim is still held, and raises ClaimLostError if it was lost. Raises RunClaimedError
        if another process holds the claim.
        """
        with claim_run(self._db, run_id) as claim:
            self._begin = claim.write_transaction
            try:
                yield claim
            finally:
                self._begin = self._db.write_transaction

    def _commit(self) -> None:
        if self._failed:
            message = (
                "nothing of this unit was recorded: a call in it failed half-way, and its error was not passed on. "
                "Let the error end the unit."
            )
            raise LandscapeError(message)
        for each in self._deferred:
            each.sync()
        self._flush()
        transaction, self._transaction, self._connection = self._transaction, None, None
        self._open_runs.clear()
        self._changed.clear()
        if transaction is not None:
            transaction.close()
        if self._added >= GROWN:
            self._added = 0
            self._analyze()

    def _analyze(self) -> None:
        """Analyze tables that have grown since the last analysis."""
        # The records are committed already. If the server fails now, the next statement reports it.
        with suppress(DBAPIError, LandscapeError), self._db.connection() as connection:
            analyze_grown_tables(connection, (record_type.table for record_type in RECORD_TYPES.values()))

    def _discard(self, error: BaseException) -> None:
        self._failed = False
        for each in self._deferred:
            each.forget()
        self._inserts.clear()
        self._updates.clear()
        transaction, self._transaction, self._connection = self._transaction, None, None
        self._open_runs.clear()
        self._changed.clear()
        if transaction is not None:
            transaction.__exit__(type(error), error, error.__traceback__)

    def _writing(self) -> Connection:
        if self._connection is None:
            transaction = ExitStack()
            self._connection = transaction.enter_context(self._begin())
            self._transaction = transaction
        return self._connection

    # -- writing -----------------------------------------------------------------------------------------------------

    def add(self, *new: AuditRecord) -> None:
        """Add new records.

        Raises AuditIntegrityError at once for a key that is used twice in the unit. For a record that the database
        refuses, the error is raised when the record is sent.
        """
        with self._lock:
            if not self._depth:
                with self.unit():
                    self._add(new)
                return
            try:
                self._add(new)
            except BaseException:
                self._failed = True
                raise

    def _add(self, new: Sequence[AuditRecord]) -> None:
        for record in new:
            record_type, row_of, key_of = ROW_FORMS[type(record)]
            row = row_of(record, self._time)
            key = key_of(row)
            waiting = self._inserts.get(record_type.name)
            if waiting is None:
                waiting = self._inserts[record_type.name] = {}
            if waiting.setdefault(key, row) is not row:
                raise _key_error(record_type, key, "a key that is not yet used", key[-1])

    def add_rows(self, rows: WaitingRows) -> None:
        """Add the rows that a detached store took.

        Raises AuditIntegrityError for a key that is used twice in the unit.
        """
        with self.unit():
            for name, new in rows.items():
                waiting = self._inserts.setdefault(name, {})
                if twice := waiting.keys() & new.keys():
                    key = min(twice, key=str)
                    raise _key_error(RECORD_TYPES[name], key, "a key that is not yet used", key[-1])
                waiting.update(new)

    def change(self, before: AuditRecord, after: AuditRecord) -> None:
        """Replace a record.

        Raises AuditIntegrityError if the schema's lifecycle does not allow the change.
        """
        record_type, row_of, key_of = ROW_FORMS[type(after)]
        check_change(record_type, mapper(record_type).to_row(before), mapper(record_type).to_row(after))
        row = row_of(after, self._time)
        key = key_of(row)
        with self.unit():
            waiting = self._inserts.get(record_type.name, {})
            if key in waiting:
                waiting[key] = row
            else:
                self._updates.setdefault(record_type.name, {})[key] = row

    def _flush(self) -> None:
        """Send waiting records to the database.

        Tables are sent in creation order, so that references find their targets.
        """
        if not self._inserts and not self._updates:
            return
        connection = self._writing()
        self._refuse_ended_runs(connection)
        savepoint = connection.begin_nested()
        try:
            for name, record_type in RECORD_TYPES.items():
                if inserts := self._inserts.get(name):
                    insert_rows(connection, record_type.table, list(inserts.values()))
                    self._added += len(inserts)
            for name, rows in self._updates.items():
                update_records(connection, RECORD_TYPES[name], rows.values())
        except IntegrityError as error:
            # Refused records keep waiting, so that the unit cannot end as if they had been recorded.
            savepoint.rollback()
            raise self._refusal(connection, error) from error
        savepoint.commit()
        if _RUN in self._updates:
            self._open_runs.clear()  # one of them may have ended with the rolled-back changes
        self._changed.update(self._inserts, self._updates)
        self._inserts.clear()
        self._updates.clear()

    def _refuse_ended_runs(self, connection: Connection) -> None:
        """Raise AuditIntegrityError if a record waits for an ended run.

        The seal of such a run covers its records; only the record of the run itself may change afterwards. On
        PostgreSQL the open runs are locked, so that they cannot end before the transaction does.
        """
        waiting = {
            str(run_id): name
            for rows_by_type in (self._updates, self._inserts)
            for name, rows in rows_by_type.items()
            if name != _RUN
            for run_id in {key[0] for key in rows}
        }
        new = {str(run_id) for (run_id,) in self._inserts.get(_RUN, {})}
        unknown = waiting.keys() - self._open_runs - new
        if not unknown:
            return
        columns = tables.runs_table.c
        statement = select(columns.run_id, columns.status).where(columns.run_id.in_(unknown)).with_for_update(read=True)
        for run_id, status in connection.execute(statement):
            if RunStatus(status).is_terminal:
                table = RECORD_TYPES[waiting[run_id]].table.name
                expected = "a run that has not ended"
                raise AuditIntegrityError(
                    table=table, key={"run_id": run_id}, field="run_id", expected=expected, got=status
                )
        self._open_runs |= unknown

    def _refusal(self, connection: Connection, error: IntegrityError) -> AuditIntegrityError:
        """Return the error for the row that the database refused.

        The rows are tried one by one to find it.
        """
        with ExitStack() as stack:
            stack.callback(connection.begin_nested().rollback)
            for name, record_type in RECORD_TYPES.items():
                for row in self._inserts.get(name, {}).values():
                    if problem := _try(connection, partial(insert_rows, connection, record_type.table, [row])):
                        return explain_refusal(
                            connection, record_type, mapper(record_type).named(row), problem, new=True
                        )
            for name, rows in self._updates.items():
                record_type = RECORD_TYPES[name]
                for row in rows.values():
                    if problem := _try(connection, partial(update_records, connection, record_type, [row])):
                        return explain_refusal(
                            connection, record_type, mapper(record_type).named(row), problem, new=False
                        )
        raise error

    @property
    def changed(self) -> frozenset[str]:
        """Return the record types that the open unit changes."""
        return frozenset(self._changed)

    def flushed_connection(self) -> Connection:
        """Send waiting records, and return the open unit's connection.

        Call it only inside a unit.
        """
        self._flush()
        return self._writing()

    # -- reading -----------------------------------------------------------------------------------------------------

    def get(self, record_type: RecordType[R], key: str, *, run_id: str | None = None) -> R | None:
        """Return the record with the key, or None.

        `key` is the last part of the record's key. Raises AuditIntegrityError if no run is given and several runs have
        such a record.
        """
        if len(record_type.key) == 1:
            return self.get_by_key(record_type, key)
        if run_id is not None:
            return self.get_by_key(record_type, run_id, key)
        *_, name = record_type.key
        # Each primary key begins with the run, so a look-up per run is faster than reading the whole index.
        runs = select(tables.runs_table.c.run_id)
        within = record_type.table.c.run_id.in_(runs)
        found = self.select(record_type, within, record_type.table.c[name] == key)
        if len(found) > 1:
            owners = ", ".join(sorted(record.run_id for record in found))
            raise _key_error(record_type, (None, key), "a key that one run uses; pass run_id", f"runs {owners}")
        return next(iter(found), None)

    def get_by_key(self, record_type: RecordType[R], *key: str) -> R | None:
        """Return the record with the whole key, or None."""
        with self._lock:
            for waiting in (self._inserts, self._updates):
                if row := waiting.get(record_type.name, {}).get(key):
                    return mapper(record_type).from_row(row)
            columns = record_type.table.c
            found = self.select(
                record_type, *(columns[name] == part for name, part in zip(record_type.key, key, strict=True))
            )
            return next(iter(found), None)

    def require(self, record_type: RecordType[R], key: str, *, run_id: str | None = None) -> R:
        """Return the record with the key.

        Raises AuditIntegrityError if there is none, and as `get` does.
        """
        record = self.get(record_type, key, run_id=run_id)
        if record is None:
            raise _key_error(record_type, (run_id, key), "an existing record", None)
        return record

    def select(self, record_type: RecordType[R], *conditions: ColumnElement[bool]) -> list[R]:
        """Return the records that meet all conditions, in export order."""
        columns = record_type.table.c
        order = [columns[name] for name in record_type.order]
        convert = mapper(record_type)
        statement = convert.select().where(*conditions).order_by(*order)
        return [convert.from_row(row) for row in self.rows(statement)]

    def rows(self, statement: Select[*tuple[object, ...]]) -> list[tuple[object, ...]]:
        """Return the rows of a statement, including waiting records."""
        with self._lock:
            if self._inserts or self._updates:
                self._flush()
            if self._connection is not None:
                return [tuple(row) for row in self._connection.execute(statement)]
            with self._db.connection() as connection:
                return [tuple(row) for row in connection.execute(statement)]


def _try(connection: Connection, write: Callable[[], None]) -> IntegrityError | None:
    """Return the error if the database refuses to write."""
    try:
        with connection.begin_nested():
            write()
    except IntegrityError as error:
        return error
    return None


def _key_error(record_type: RecordType[AuditRecord], key: _Key, expected: str, got: object) -> AuditIntegrityError:
    named: Mapping[str, object] = dict(zip(record_type.key, key, strict=False))
    known = {name: value for name, value in named.items() if value is not None}
    *_, field = record_type.key
    return AuditIntegrityError(
        table=record_type.table.name, key=known, field=field, expected=expected, got=str(got) if got else None
    )
