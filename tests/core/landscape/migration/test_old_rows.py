"""Values of the predecessor's databases as JSON has them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from sqlalchemy import Connection, StaticPool, create_engine

from elspeth.core.landscape.migration._old_rows import OldRow, old_tables, plain
from elspeth.core.landscape.migration._places import _token_of
from elspeth.schema.snapshots import KeySnapshot, ReferenceSnapshot, TableSnapshot
from tests.codegen.snapshots import column, table

LARGEST = 2**53 - 1


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        ("", ""),
        ("2026-01-02 03:04:05", "2026-01-02 03:04:05"),
        (True, 1),
        (0, 0),
        (LARGEST, LARGEST),
        (-LARGEST, -LARGEST),
        (LARGEST + 1, {"type": "int", "text": str(LARGEST + 1)}),
        (-LARGEST - 1, {"type": "int", "text": str(-LARGEST - 1)}),
        (0.5, 0.5),
        (math.nan, {"type": "float", "text": "nan"}),
        (-math.inf, {"type": "float", "text": "-inf"}),
        (b"\x00\xff", {"type": "bytes", "base64": "AP8="}),
        pytest.param(memoryview(b""), {"type": "bytes", "base64": ""}, id="memoryview"),
        (datetime(2026, 1, 2, 3, tzinfo=UTC).replace(tzinfo=None), "2026-01-02T03:00:00.000000Z"),
        (datetime(2026, 1, 2, 3, tzinfo=timezone(timedelta(hours=2))), "2026-01-02T01:00:00.000000Z"),
        (datetime(2026, 1, 2, 3, tzinfo=UTC), "2026-01-02T03:00:00.000000Z"),
        (timedelta(1), {"type": "timedelta", "text": "1 day, 0:00:00"}),
    ],
    ids=repr,
)
def test_a_value_that_json_lacks_becomes_its_type_and_text(value: object, expected: object) -> None:
    found = plain(value)
    assert (found, type(found)) == (expected, type(expected))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-01-02 03:04:05", "2026-01-02T03:04:05.000000Z"),
        ("2026-01-02 03:04:05.000000", "2026-01-02T03:04:05.000000Z"),
        ("2026-01-02 03:04:05.600000", "2026-01-02T03:04:05.600000Z"),
        *((same, same) for same in ("2026-01-02 03:04:05.6", "2026-01-02T03:04:05", "2026-01-02 03:04:05+00:00", "x")),
    ],
)
def test_only_the_spellings_of_sqlalchemy_are_times(text: str, expected: str) -> None:
    assert plain(text, is_time=True) == expected
    assert plain(text) == text


@pytest.mark.parametrize(
    ("token", "expected"), [("t" * 64, "t" * 64), ("t" * 65, None), ("", None), (7, None), (None, None)]
)
def test_only_a_possible_id_of_a_token_is_taken_for_one(token: str | int | None, expected: str | None) -> None:
    assert _token_of(OldRow(run_id="run", values={"token_id": token})) == expected
    assert _token_of(OldRow(run_id="run", values={})) is None


# -- runs of rows that name none -------------------------------------------------------------------------------------


def referring(name: str, *references: tuple[str, str, str], key: bool = True) -> TableSnapshot:
    """Return a table with references (column, table, target)."""
    columns = (column("id"), *(column(each) for each, _, _ in references))
    keys = tuple(
        ReferenceSnapshot(name=None, columns=(each,), table=target, target_columns=(theirs,))
        for each, target, theirs in references
    )
    known = table(name)
    return replace(known, columns=columns, foreign_keys=keys, primary_key=known.primary_key if key else None)


OLD = old_tables(
    [
        replace(table("runs"), columns=(column("run_id"),)),
        referring("rows", ("owner", "runs", "run_id")),
        referring("tasks", ("owner", "runs", "run_id")),
        referring(
            "calls", ("self", "calls", "id"), ("lost", "nowhere", "id"), ("row", "rows", "id"), ("task", "tasks", "id")
        ),
        referring("members", ("call", "calls", "id"), key=False),
        referring("alone"),
    ]
)


@pytest.fixture
def connection() -> Iterator[Connection]:
    """Open a database with rows of two runs and none."""
    content: dict[str, list[tuple[str | None, ...]]] = {
        "runs": [("a",), ("b",)],
        "rows": [("r1", "a"), ("r2", "b"), ("r3", "gone")],
        "tasks": [("t1", "b")],
        "calls": [
            ("c1", "c2", "x", "r1", None),
            ("c2", "c1", "x", None, "t1"),
            ("c3", "c1", "x", "r3", None),
            ("c4", "c1", "x", "gone", "t1"),
            ("c5", None, None, None, None),
        ],
        "members": [("m", "c1"), ("m", "c2"), ("m", "c3")],
        "alone": [("x",)],
    }
    engine = create_engine("sqlite://", poolclass=StaticPool)
    with engine.connect() as connection:
        for name, rows in content.items():
            connection.exec_driver_sql(f"CREATE TABLE {name} ({', '.join(OLD[name].columns)})")
            for row in rows:
                marks = ", ".join("?" for _ in row)
                connection.exec_driver_sql(f"INSERT INTO {name} VALUES ({marks})", row)  # noqa: S608 - the test's own
        yield connection
    engine.dispose()


RUNS = {
    "runs": ["a", "b"],
    "rows": ["a", "b", None],
    "tasks": ["b"],
    "calls": ["a", "b", None, "b", None],
    "members": ["a", "b", None],
    "alone": [None],
}


@pytest.mark.parametrize("name", RUNS)
def test_the_run_of_a_row_is_found_by_any_reference_that_leads_to_one(connection: Connection, name: str) -> None:
    rows = list(OLD[name].rows(connection))
    assert [row.run_id for row in rows] == RUNS[name]
    assert list(OLD[name].rows_of_no_run(connection)) == [row for row in rows if row.run_id is None]
    assert OLD[name].count(connection) == len(rows)


def test_a_row_of_a_table_without_a_key_is_known_by_all_its_values(connection: Connection) -> None:
    keys = [OLD["members"].key_of(row.values) for row in OLD["members"].rows(connection)]
    assert keys == ['["m","c1"]', '["m","c2"]', '["m","c3"]']
    assert [OLD["calls"].key_of(row.values) for row in OLD["calls"].rows(connection)][:2] == ['["c1"]', '["c2"]']


def test_a_key_has_the_order_of_its_columns() -> None:
    both = replace(
        table("both"), columns=(column("z"), column("a")), primary_key=KeySnapshot(name=None, columns=("z", "a"))
    )
    assert old_tables([both])["both"].key_of({"a": 1, "z": 2}) == "[2,1]"
