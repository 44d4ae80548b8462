"""What a seal covers, by the names of its epoch."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain

import pytest

from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.recording.recorder import LandscapeRecorder
from elspeth.core.landscape.sealing.comparison import _format_key
from elspeth.core.landscape.sealing.scope import (
    LocatedType,
    SealedType,
    current_scope,
    locate,
    scope_from_json,
    scope_to_json,
    sealed_chunks,
    seals_whole_lines,
)
from elspeth_schema import EPOCH
from elspeth_schema.records import ROW
from tests.fixtures.records import record_graph

ROWS = next(sealed for sealed in current_scope() if sealed.record_type == ROW.name)


def test_records_are_sealed_by_the_names_and_in_the_order_of_their_epoch(
    landscape: LandscapeDB, recorder: LandscapeRecorder
) -> None:
    names = {"run": "run_id", "number": "row_index"}
    old = SealedType(record_type="line", table="lines", order=("run", "number"), columns=("number", "run"))
    for run_id in ("run", "other"):
        record_graph(recorder, run_id)
        for index, row_id in enumerate("cab" if run_id == "run" else "d"):
            recorder.create_row(run_id, "source", index, {}, row_id=row_id)
    located = LocatedType(sealed=old, record_type=ROW, names=names)
    with landscape.snapshot() as connection:
        lines = list(chain.from_iterable(sealed_chunks(connection, located, "run")))
    assert lines == [b'{"number":%d,"record_type":"line","run":"run"}' % number for number in range(3)]


def test_a_fault_names_its_record_by_the_columns_of_today() -> None:
    names = {"run": "run_id", "line": "row_id", "number": "row_index"}
    old = SealedType(record_type="line", table="lines", order=("run", "number"), columns=("number", "run", "line"))
    located = LocatedType(sealed=old, record_type=ROW, names=names)
    line = b'{"line":"x","number":3,"record_type":"line","run":"a"}'
    assert _format_key(located, line) == "run_id='a' row_id='x'"


def test_a_scope_is_kept_as_it_was() -> None:
    assert scope_from_json(scope_to_json(current_scope())) == current_scope()


@pytest.mark.parametrize(
    "other",
    [
        replace(ROWS, record_type="line"),
        replace(ROWS, order=ROWS.order[::-1]),
        replace(ROWS, columns=ROWS.columns[1:]),
    ],
)
def test_only_the_lines_of_today_are_read_as_whole_lines(other: SealedType) -> None:
    located = locate(ROWS, EPOCH)
    assert seals_whole_lines(located)
    assert not seals_whole_lines(replace(located, sealed=other))
    exchanged = {**located.names, "row_id": "source_node_id", "source_node_id": "row_id"}
    assert not seals_whole_lines(replace(located, names=exchanged))
