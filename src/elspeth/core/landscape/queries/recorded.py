"""Queries of pipelines about recorded rows, answers and outputs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import ColumnElement, Connection, Table, and_, exists, func, or_, select

from elspeth.core.canonical import stable_hash
from elspeth.core.chunks import chunks
from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.database.connections import read_only_connection
from elspeth.core.landscape.database.errors import LandscapeError
from elspeth.core.landscape.database.pruned_runs import has_pruned_runs, read_pruned_runs
from elspeth.core.landscape.database.urls import is_in_memory, parse_url, sqlite_path
from elspeth.core.landscape.records.mapping import mapper
from elspeth.objects.address import ObjectPath, Place, is_address
from elspeth.objects.stores import size_and_hash
from elspeth.outputs.policy import identity_of
from elspeth_schema.contracts import Call, OperationType, RowOutcome
from elspeth_schema.records import CALL
from elspeth_schema.tables import (
    artifacts_table,
    calls_table,
    node_states_table,
    operations_table,
    rows_table,
    token_outcomes_table,
    tokens_table,
)

__all__ = [
    "CallCount",
    "calls_of_rows",
    "calls_of_sources",
    "count_calls",
    "count_endings",
    "count_rows",
    "count_rows_by_source",
    "objection_by_url",
    "objection_in",
    "objection_without_database",
    "output_summary",
    "repeats_a_call",
    "row_hashes",
]

_CHUNK = 10_000
"""Number of rows read at once."""

_IDS = 1000
"""The number of ids in one statement."""

_WHAT_TO_DO = "move it away, or use --force"
_UNKNOWN = f"is not an output that the audit database names: {_WHAT_TO_DO}"

_rows, _outcomes = rows_table.c, token_outcomes_table.c
_artifacts, _operations = artifacts_table.c, operations_table.c


class CallCount(NamedTuple):
    """The number of attempted calls, and of repeated attempts."""

    calls: int = 0
    retries: int = 0


def count_calls(connection: Connection, run_id: str) -> CallCount:
    """Count the recorded calls of a run."""
    columns = calls_table.c
    again = func.count().filter(repeats_a_call())
    found = connection.execute(select(func.count(), again).where(columns.run_id == run_id)).one()
    return CallCount(*found)


def repeats_a_call() -> ColumnElement[bool]:
    """Return the condition that a call is another attempt.

    All calls of a visit have the same request; an operation may make different requests.
    """
    columns, earlier = calls_table.c, calls_table.alias("earlier").c
    asked_before = exists().where(
        earlier.run_id == columns.run_id,
        earlier.operation_id == columns.operation_id,
        earlier.request_hash == columns.request_hash,
        earlier.call_index < columns.call_index,
    )
    return and_(columns.call_index > 0, or_(columns.state_id.is_not(None), asked_before))


def count_rows(db: LandscapeDB, run_id: str) -> int:
    """Return the number of recorded source rows."""
    statement = select(func.count()).select_from(rows_table).where(_rows.run_id == run_id)
    with db.connection() as connection:
        return connection.execute(statement).scalar_one()


def count_endings(db: LandscapeDB, run_id: str) -> dict[tuple[RowOutcome, str | None], int]:
    """Return the number of ended tokens by outcome and sink."""
    statement = (
        select(_outcomes.outcome, _outcomes.sink_name, func.count())
        .where(_outcomes.run_id == run_id, _outcomes.is_terminal == 1)
        .group_by(_outcomes.outcome, _outcomes.sink_name)
    )
    with db.connection() as connection:
        return {(RowOutcome(outcome), sink): count for outcome, sink, count in connection.execute(statement)}


def count_rows_by_source(db: LandscapeDB, run_id: str) -> dict[str, int]:
    """Return the number of recorded rows by source node."""
    statement = select(_rows.source_node_id, func.count()).where(_rows.run_id == run_id).group_by(_rows.source_node_id)
    with db.connection() as connection:
        return {str(node_id): rows for node_id, rows in connection.execute(statement)}


def row_hashes(db: LandscapeDB, run_id: str, source_node_id: str) -> Iterator[tuple[int, str]]:
    """Yield index and hash of each row of a source.

    They are read in chunks.
    """
    last = -1
    while True:
        statement = (
            select(_rows.row_index, _rows.source_data_hash)
            .where(_rows.run_id == run_id, _rows.row_index > last, _rows.source_node_id == source_node_id)
            .order_by(_rows.row_index)
            .limit(_CHUNK)
        )
        with db.connection() as connection:
            found = [(int(index), str(digest)) for index, digest in connection.execute(statement)]
        if not found:
            return
        yield from found
        last = found[-1][0]


def calls_of_rows(db: LandscapeDB, run_id: str, rows: range) -> list[tuple[int, Call]]:
    """Return the calls made for source rows, with row indexes.

    They are sorted by row, node state, and call index. One table is read after another, because without statistics of
    recently filled tables, PostgreSQL joins them in a time that grows with the fourth power of the number of rows.
    """
    columns = rows_table.c
    within = columns.row_index.between(rows.start, rows.stop - 1)
    first = select(columns.row_id, columns.row_index).where(columns.run_id == run_id, within)
    with db.connection() as connection:
        of_rows = {str(row_id): int(index) for row_id, index in connection.execute(first)}
        of_tokens = _referring(connection, run_id, tokens_table, ("token_id", "row_id"), of_rows)
        of_states = _referring(connection, run_id, node_states_table, ("state_id", "token_id"), of_tokens)
        columns = calls_table.c
        found = []
        for part in chunks(of_states, _IDS):
            statement = mapper(CALL).select().where(columns.run_id == run_id, columns.state_id.in_(part))
            found += [mapper(CALL).from_row(tuple(call)) for call in connection.execute(statement)]
    calls = [(of_states[str(call.state_id)], call) for call in found]
    return sorted(calls, key=lambda each: (each[0], each[1].state_id or "", each[1].call_index))


def calls_of_sources(db: LandscapeDB, run_id: str, node_id: str | None = None) -> list[Call]:
    """Return the calls made while sources were read, in order.

    `node_id` selects the calls of one source.
    """
    columns = calls_table.c
    loads = select(_operations.operation_id, _operations.started_at).where(
        _operations.run_id == run_id, _operations.operation_type == OperationType.SOURCE_LOAD.value
    )
    if node_id is not None:
        loads = loads.where(_operations.node_id == node_id)
    with db.connection() as connection:
        began = {str(operation_id): started_at for operation_id, started_at in connection.execute(loads)}
        found: list[Call] = []
        for part in chunks(began, _IDS):
            statement = mapper(CALL).select().where(columns.run_id == run_id, columns.operation_id.in_(part))
            found += [mapper(CALL).from_row(tuple(call)) for call in connection.execute(statement)]
    return sorted(found, key=lambda each: (began[str(each.operation_id)], each.operation_id or "", each.call_index))


def _referring(
    connection: Connection, run_id: str, table: Table, names: tuple[str, str], referred: Mapping[str, int]
) -> dict[str, int]:
    """Return the row indexes of records by their key.

    `names` are the columns of the key and of the reference; `referred` maps the values of the reference to row indexes.
    """
    key, reference = (table.c[name] for name in names)
    found: dict[str, int] = {}
    for part in chunks(referred, _IDS):
        statement = select(key, reference).where(table.c.run_id == run_id, reference.in_(part))
        found.update({str(each): referred[str(other)] for each, other in connection.execute(statement)})
    return found


def output_summary(*, rows: int, path: str, content_hash: str, size_bytes: int) -> dict[str, object]:
    """Return the summary that an operation records of its output."""
    return {"rows": rows, "path": path, "content_hash": content_hash, "size_bytes": size_bytes}


def objection_by_url(url: str, path: Place) -> str | None:
    """Return why no sink may replace the file, or None.

    See `objection_in`. It also returns None if the database cannot be read, because the run itself reports that and
    checks again.
    """
    try:
        parsed = parse_url(url)
        if is_in_memory(parsed) or (parsed.get_backend_name() == "sqlite" and not sqlite_path(parsed).exists()):
            return _UNKNOWN
        with read_only_connection(parsed) as connection:
            return _objection(connection, path)
    except LandscapeError:
        return None


def objection_in(db: LandscapeDB, path: Place) -> str | None:
    """Return why no sink may replace the file, or None.

    A sink may replace it if the database names the file as an output with the SHA-256 that the file has now. A file
    that was changed since may hold somebody's work.
    """
    with db.connection() as connection:
        return _objection(connection, path)


def objection_without_database(path: Place) -> str:  # noqa: ARG001  the same for every file
    """Return the objection to a file without any database."""
    return f"is there already, and no audit database says that it is an earlier output: {_WHAT_TO_DO}"


def _objection(connection: Connection, path: Place) -> str | None:
    size, content_hash = size_and_hash(path)
    known = select(_artifacts.path_or_uri).where(_artifacts.content_hash == content_hash, _artifacts.size_bytes == size)
    if any(_is_same(path, recorded) for recorded in connection.execute(known).scalars()):
        return None
    # An output without rows has no artifact, because an artifact names the visit of a row.
    summary = output_summary(rows=0, path=str(path), content_hash=content_hash, size_bytes=size)
    without_rows = select(_operations.run_id).where(_operations.output_data_hash == stable_hash(summary)).limit(1)
    if connection.execute(without_rows).first() is not None:
        return None
    pruned = _pruned_outputs(connection, path, content_hash, stable_hash(summary))
    if any((content_hash, size) == (each["content_hash"], each["size_bytes"]) for each in pruned):
        return None
    if any(each["summary_hash"] == stable_hash(summary) for each in pruned):
        return None
    writers = (
        select(_artifacts.run_id)
        .where(_artifacts.path_or_uri == str(path))
        .order_by(_artifacts.created_at.desc(), _artifacts.run_id.desc())
        .limit(1)
    )
    writer = connection.execute(writers).scalar() or (pruned[-1]["run_id"] if pruned else None)
    return _UNKNOWN if writer is None else f"is not as run {writer} wrote it: {_WHAT_TO_DO}"


def _pruned_outputs(connection: Connection, path: Place, *hashes: str) -> list[dict[str, object]]:
    """Return pruned runs' outputs at a path, oldest first.

    `hashes` are the hashes that the wanted output may have.
    """
    if not has_pruned_runs(connection):
        return []
    return [
        {**output, "run_id": run.run_id}
        for run in read_pruned_runs(connection, holding=[*hashes, json.dumps(str(path), ensure_ascii=False)])
        for output in json.loads(run.outputs_json)
        if _is_same(path, output["path"])
    ]


def _is_same(path: Place, recorded: str) -> bool:
    if isinstance(path, ObjectPath) or is_address(recorded):
        return str(path) == recorded
    return str(path) == recorded or identity_of(path) == identity_of(Path(recorded))
