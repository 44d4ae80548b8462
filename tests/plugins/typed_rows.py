"""Rows with values of every type, for typed columns."""

from elspeth.contracts.plugins import Sink
from elspeth.contracts.rows import RowData

ROWS: list[RowData] = [
    {"id": 1, "x": None, "name": "Zoë", "ok": True, "tags": ["a"], "mixed": 1},
    {"id": 2, "x": 1, "mixed": "two", "late": "here"},
    {"id": 3, "x": 2.5, "tags": None},
]

EXPECTED = [
    {"id": 1, "x": None, "name": "Zoë", "ok": True, "tags": '["a"]', "mixed": "1", "late": None},
    {"id": 2, "x": 1.0, "name": None, "ok": None, "tags": None, "mixed": '"two"', "late": "here"},
    {"id": 3, "x": 2.5, "name": None, "ok": None, "tags": None, "mixed": None, "late": None},
]


def write(sink: Sink, rows: list[RowData], run: str = "run1") -> None:
    sink.open(run)
    for row in rows:
        sink.write(row)
    sink.sync()
    output = sink.finish()
    assert output is not None
    sink.publish()
    sink.publish()  # a resumed run may publish again
