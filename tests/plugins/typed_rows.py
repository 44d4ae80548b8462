"""Rows with values of every type, for typed columns."""

import datetime as dt
from decimal import Decimal

from elspeth.contracts.plugins import Sink
from elspeth.contracts.rows import RowData

ROWS: list[RowData] = [
    {"id": 1, "x": None, "name": "Zoë", "ok": True, "tags": ["a"], "mixed": 1},
    {"id": 2, "x": 1, "mixed": "two", "late": "here"},
    {"id": 3, "x": 2.5, "tags": None},
]

EXPECTED: list[RowData] = [
    {"id": 1, "x": None, "name": "Zoë", "ok": True, "tags": '["a"]', "mixed": "1", "late": None},
    {"id": 2, "x": 1.0, "name": None, "ok": None, "tags": None, "mixed": '"two"', "late": "here"},
    {"id": 3, "x": 2.5, "name": None, "ok": None, "tags": None, "mixed": None, "late": None},
]

TYPED: RowData = {
    "paid": Decimal("12.30"),
    "day": dt.date(2026, 3, 1),
    "at": dt.datetime(2026, 3, 1, 12, 30, 0, 5, tzinfo=dt.UTC),
    "took": dt.timedelta(days=1, minutes=-1),
}
"""A row with a value of each type that JSON does not have."""

TEXTS: RowData = {
    "paid": "12.30",
    "day": "2026-03-01",
    "at": "2026-03-01T12:30:00.000005Z",
    "took": "PT23H59M",
}
"""The canonical texts of these values."""

FIELDS = ["paid: decimal(2)", "day: date", "at: datetime", "took: duration"]
"""The fields of such rows."""


def write(sink: Sink, rows: list[RowData], run: str = "run1") -> None:
    sink.open(run)
    for row in rows:
        sink.write(row)
    sink.sync()
    output = sink.finish()
    assert output is not None
    sink.publish()
    sink.publish()  # a resumed run may publish again
