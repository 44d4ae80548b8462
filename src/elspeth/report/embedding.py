"""Chooses the records that a page holds.

The page of a large run would be too large to mail. So it holds the stories that readers need most: those of rows that
failed or were quarantined, of rows for which another system was called, and of the first rows.
"""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Connection, and_, func, literal, select, union_all

from elspeth.core.canonical import canonical_bytes
from elspeth.core.chunks import chunks
from elspeth.core.landscape.lines.reading import read_chunks
from elspeth.core.landscape.queries.story.model import exported_record
from elspeth.core.landscape.queries.story.reader import records_of_rows
from elspeth.core.landscape.queries.story.trail import DatabaseTrail
from elspeth.core.landscape.records.mapping import record_type_of
from elspeth_schema.contracts import NodeStateStatus, RowOutcome
from elspeth_schema.records import EDGE, NODE, RECORD_TYPES, RUN, RUN_PROCESS, SOURCE_INPUT
from elspeth_schema.tables import (
    calls_table,
    node_states_table,
    rows_table,
    token_outcomes_table,
    tokens_table,
    transform_errors_table,
    validation_errors_table,
)

__all__ = ["MOST_RECORDS", "chosen_lines"]

MOST_RECORDS = 200_000
"""The default limit of the records that a page holds: about 25 MB."""

_WHOLE = (RUN.name, RUN_PROCESS.name, NODE.name, EDGE.name, SOURCE_INPUT.name)
"""The types of which every record is chosen."""

_FIRST_ROWS = 1_000
_ROWS_AT_ONCE = 200
_LEAST_PER_ROW = 3
"""The fewest records that a row has: its own, a token and a visit."""


def chosen_lines(connection: Connection, run_id: str, most: int = MOST_RECORDS) -> Iterator[list[bytes]]:
    """Yield the lines of the chosen rows' stories, in batches.

    The lines have no line feeds and no particular order. The first batches hold the run and its graph. After about
    `most` records no further row is chosen.
    """
    for name in _WHOLE:
        for _, lines in read_chunks(connection, RECORD_TYPES[name], run_id):
            yield lines[:-1].split(b"\n")
    trail, seen = DatabaseTrail(connection, run_id), set[tuple[object, ...]]()
    for rows in chunks(_chosen_rows(connection, run_id, most // _LEAST_PER_ROW), _ROWS_AT_ONCE):
        batch: list[bytes] = []
        for record in records_of_rows(trail, rows):
            record_type = record_type_of(record)
            key = (record_type.name, *(getattr(record, name) for name in record_type.key[1:]))
            if record_type.name not in _WHOLE and key not in seen:
                seen.add(key)
                batch.append(canonical_bytes(exported_record(record)))
        yield batch
        if len(seen) >= most:
            return


def _chosen_rows(connection: Connection, run_id: str, most: int) -> list[int]:
    """Return the indexes of the rows that are chosen.

    Rows with failures come first, then those with calls, then the first ones.
    """
    rows, tokens, states, outcomes = rows_table.c, tokens_table.c, node_states_table.c, token_outcomes_table.c
    calls, refused, invalid = calls_table.c, transform_errors_table.c, validation_errors_table.c
    bad = [RowOutcome.FAILED.value, RowOutcome.QUARANTINED.value]
    of_token = select(tokens.row_id, literal(0).label("rank")).where(tokens.run_id == run_id)
    same_state = and_(states.run_id == run_id, states.token_id == tokens.token_id)
    chosen = union_all(
        of_token.where(outcomes.run_id == run_id, outcomes.token_id == tokens.token_id, outcomes.outcome.in_(bad)),
        of_token.where(same_state, states.status == NodeStateStatus.FAILED.value),
        of_token.where(refused.run_id == run_id, refused.token_id == tokens.token_id),
        select(rows.row_id, literal(0)).where(
            rows.run_id == run_id, invalid.run_id == run_id, invalid.row_hash == rows.source_data_hash
        ),
        select(tokens.row_id, literal(1)).where(
            tokens.run_id == run_id, same_state, calls.run_id == run_id, calls.state_id == states.state_id
        ),
        select(rows.row_id, literal(2)).where(rows.run_id == run_id, rows.row_index < _FIRST_ROWS),
    ).subquery()
    statement = (
        select(rows.row_index)
        .join_from(rows_table, chosen, chosen.c.row_id == rows.row_id)
        .where(rows.run_id == run_id)
        .group_by(rows.row_index)
        .order_by(func.min(chosen.c.rank), rows.row_index)
        .limit(most)
    )
    return list(connection.scalars(statement))
