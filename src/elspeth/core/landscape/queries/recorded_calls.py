"""The calls that a recorded run made for its rows, for replaying them."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection, Table, select

from elspeth.core.chunks import chunks
from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.records.mapping import mapper
from elspeth_schema.contracts import Call
from elspeth_schema.records import CALL
from elspeth_schema.tables import calls_table, node_states_table, rows_table, tokens_table

__all__ = ["calls_of_rows"]

_IDS = 1000  # in one statement


def calls_of_rows(db: LandscapeDB, run_id: str, rows: range) -> list[tuple[int, Call]]:
    """The calls made for the source rows with these indexes, each with its row's.

    In the order of rows, of the node states that made them, and of the calls of a state. The way from rows to calls is
    followed step by step: PostgreSQL, which knows nothing of tables that were filled a moment ago, joins them in a time
    that grows with the fourth power of the number of rows.
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


def _referring(
    connection: Connection, run_id: str, table: Table, names: tuple[str, str], referred: Mapping[str, int]
) -> dict[str, int]:
    """The source row's index by the keys of those of the table's rows that refer to what is given.

    `names` are the columns of key and reference.
    """
    key, reference = (table.c[name] for name in names)
    found: dict[str, int] = {}
    for part in chunks(referred, _IDS):
        statement = select(key, reference).where(table.c.run_id == run_id, reference.in_(part))
        found.update({str(each): referred[str(other)] for each, other in connection.execute(statement)})
    return found
