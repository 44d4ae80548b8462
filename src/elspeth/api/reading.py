"""Reads audit trails from Python, in databases and exports."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from sqlalchemy import Connection

from elspeth.api.tables import Table, table_of
from elspeth.contracts.database_urls import database_url, is_database_url
from elspeth.contracts.enums import RowOutcome
from elspeth.core.html_tables import html_table
from elspeth.core.landscape.database import LandscapeDB, LandscapeError
from elspeth.core.landscape.database.errors import RunNotFoundError
from elspeth.core.landscape.lines.reading import read_records
from elspeth.core.landscape.migration.private_copy import open_for_reading
from elspeth.core.landscape.queries.endings import EndedToken, ended_tokens
from elspeth.core.landscape.queries.exported import open_exported
from elspeth.core.landscape.queries.outputs import RecordedOutput, recorded_outputs
from elspeth.core.landscape.queries.problems import FailedRows, read_failed_rows
from elspeth.core.landscape.queries.runs import LATEST, RecordedRun, matches_run, recorded_settings, resolve_run
from elspeth.core.landscape.queries.story.model import RowStory
from elspeth.core.landscape.queries.story.reader import row_story
from elspeth.core.landscape.queries.story.trail import DatabaseTrail
from elspeth.core.landscape.records.mapping import mapper
from elspeth_schema.contracts import Run
from elspeth_schema.records import RECORD_TYPES, RUN

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["AuditTrail", "AuditedRun", "open"]

_SQLITE = b"SQLite format 3\0"
_Connect = Callable[[], AbstractContextManager[Connection]]


class AuditedRun:
    """One run of an audit trail.

    It keeps its trail open, as do the tables that it returns.
    """

    def __init__(self, run_id: str, connect: _Connect, trail: AuditTrail) -> None:
        self._connect = connect
        self._trail = trail
        self.run_id = run_id

    @property
    def record(self) -> Run:
        """Return the record of the run: status, times, hashes."""
        with self._connect() as connection:
            [found] = DatabaseTrail(connection, self.run_id).records(RUN, "run_id", [self.run_id])
        return found

    @property
    def settings(self) -> dict[str, object]:
        """Return the settings that the run recorded."""
        with self._connect() as connection:
            return recorded_settings(connection, self.run_id)

    def rows(
        self,
        *,
        outcome: str | None = None,
        sink: str | None = None,
        step: str | None = None,
        reason: str | None = None,
    ) -> Table[EndedToken]:
        """Return how the rows ended, in the source's order.

        A row that was forked or expanded has an entry for each of its tokens. The arguments select rows by outcome
        (such as `failed`), by the sink that took them, by the step that refused them, and by a text in the reason.

        Raises ValueError for an unknown outcome.
        """
        outcomes = () if outcome is None else (RowOutcome(outcome),)

        def read() -> Iterator[EndedToken]:
            with self._connect() as connection:
                yield from ended_tokens(connection, self.run_id, outcomes=outcomes, sink=sink, step=step, reason=reason)

        return table_of(f"rows of run {self.run_id}", EndedToken, read)

    def failures(self) -> FailedRows:
        """Return how many rows failed, and the reasons."""
        with self._connect() as connection:
            return read_failed_rows(connection, self.run_id)

    def outputs(self) -> Table[RecordedOutput]:
        """Return the outputs that the sinks published."""

        def read() -> Iterator[RecordedOutput]:
            with self._connect() as connection:
                yield from recorded_outputs(connection, self.run_id)

        return table_of(f"outputs of run {self.run_id}", RecordedOutput, read)

    def explain(self, row: int) -> RowStory:
        """Return everything recorded of one source row, from 0.

        Raises LandscapeError if the run has no such row.
        """
        with self._connect() as connection:
            return row_story(DatabaseTrail(connection, self.run_id), row)

    def records(self, record_type: str) -> Table[dict[str, object]]:
        """Return the records of one type, such as `node_state`.

        As in an export, withheld columns are left out, and times are text. Arrow tables have the types of the schema.

        Raises ValueError for an unknown type.
        """
        if record_type not in RECORD_TYPES:
            raise ValueError(f"unknown record type {record_type!r}: expected one of {', '.join(RECORD_TYPES)}")
        kind = RECORD_TYPES[record_type]
        columns = [column.name for column in kind.columns if column.withheld is None]

        def read() -> Iterator[dict[str, object]]:
            with self._connect() as connection:
                for record in read_records(connection, kind, self.run_id):
                    yield {name: record[name] for name in columns}

        def to_arrow() -> pa.Table:
            from elspeth.core.landscape.exporting.arrow_lines import read_table  # noqa: PLC0415  an extra

            with self._connect() as connection:
                return read_table(connection, kind, self.run_id)

        return Table(f"{record_type} records of run {self.run_id}", columns, read, dict, to_arrow)

    @contextmanager
    def recorded(self) -> Iterator[RecordedRun]:
        """Open the run for queries: a connection, and its id."""
        with self._connect() as connection:
            yield RecordedRun(connection, self.run_id)

    def __repr__(self) -> str:
        """Name the run."""
        return f"<run {self.run_id}>"

    def _repr_html_(self) -> str:
        """Return the run and how its rows ended, for notebooks."""
        record, failed = self.record, self.failures()
        rows: list[tuple[str, object]] = [
            ("status", record.status.value),
            ("began", record.started_at),
            ("ended", record.completed_at),
            ("rows with failures", failed.count),
        ]
        rows += [("", f"{each.count:,} at {each.node_id}: {each.kind}: {each.message}") for each in failed.reasons]
        return html_table(f"Run {self.run_id}", (), rows)


class AuditTrail:
    """An audit trail that is open for reading.

    Close it, or leave its `with` block, to remove temporary copies. They are also removed when the program ends.
    """

    def __init__(self, place: str, opened: LandscapeDB | RecordedRun, stack: ExitStack) -> None:
        self._place = place
        self._opened = opened
        self._stack = stack

    def run(self, name: str = LATEST) -> AuditedRun:
        """Return a run.

        `name` is its id, the beginning of it, or `latest`.

        Raises LandscapeError if no run has that name, or several do.
        """
        if isinstance(self._opened, LandscapeDB):
            return AuditedRun(resolve_run(self._opened, name), self._opened.snapshot, self)
        if not matches_run(name, self._opened.run_id):
            raise RunNotFoundError(f"export {self._place} holds run {self._opened.run_id!r}, not {name!r}")
        connection = self._opened.connection
        return AuditedRun(self._opened.run_id, lambda: nullcontext(connection), self)

    def runs(self) -> list[AuditedRun]:
        """Return all runs, the oldest first."""
        if not isinstance(self._opened, LandscapeDB):
            return [self.run()]
        with self._opened.snapshot() as connection:
            columns = RUN.table.c
            statement = RUN.table.select().with_only_columns(columns.run_id)
            found = connection.scalars(statement.order_by(columns.started_at, columns.run_id)).all()
        return [AuditedRun(run_id, self._opened.snapshot, self) for run_id in found]

    def run_records(self, newest: int | None = None) -> list[Run]:
        """Return the records of runs, the oldest first.

        They are those of all runs, or of the `newest`.
        """
        read, columns = mapper(RUN), RUN.table.c
        newest_first = read.select().order_by(None).order_by(columns.started_at.desc(), columns.run_id.desc())
        with self.snapshot() as connection:
            rows = connection.execute(newest_first.limit(newest)).all()
            return [read.from_row(tuple(row)) for row in reversed(rows)]

    def snapshot(self) -> AbstractContextManager[Connection]:
        """Open the tables for queries.

        All queries see the same state. An export is read into a temporary database, which holds no other run.
        """
        if isinstance(self._opened, LandscapeDB):
            return self._opened.snapshot()
        return nullcontext(self._opened.connection)

    def close(self) -> None:
        """Close the database, and remove temporary copies."""
        self._stack.close()

    def __enter__(self) -> Self:
        """Return the trail."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the trail."""
        self.close()

    def __repr__(self) -> str:
        """Name what is open."""
        return f"<audit trail {self._place}>"

    def _repr_html_(self) -> str:
        """Return the runs, for notebooks."""
        rows = [(each.run_id, each.status.value, each.started_at, each.completed_at) for each in self.run_records()]
        return html_table(repr(self).strip("<>"), ("run", "status", "began", "ended"), rows)


def open(place: str | os.PathLike[str]) -> AuditTrail:  # noqa: A001  it is called as `elspeth.open`
    """Open an audit trail for reading.

    `place` is the URL of a database, a SQLite file, or an export or bag in any format, which is never changed: a
    database of an older epoch is read through a private, migrated copy. An export is compared with its manifest; only
    `elspeth verify` checks its signature.

    Raises LandscapeError if there is no such trail, or an export is incomplete or was changed.
    """
    with ExitStack() as stack:
        opened: LandscapeDB | RecordedRun
        if isinstance(place, str) and is_database_url(place):
            opened = stack.enter_context(open_for_reading(place))
            shown = opened.url
        else:
            path, shown = Path(place), str(place)
            if _is_database(path):
                opened = stack.enter_context(open_for_reading(database_url(shown)))
            else:
                opened = stack.enter_context(open_exported(path, list(RECORD_TYPES.values())))
        return AuditTrail(shown, opened, stack.pop_all())


def _is_database(path: Path) -> bool:
    """Return whether a file is a SQLite database.

    Raises LandscapeError if there is no file.
    """
    if path.is_dir():
        return False
    try:
        with path.open("rb") as file:
            return file.read(len(_SQLITE)) == _SQLITE
    except OSError as error:
        raise LandscapeError(f"{path} cannot be read: {error.strerror}") from error
