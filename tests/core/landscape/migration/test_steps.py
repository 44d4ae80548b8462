"""Backfilled values, checked against the rules of their columns."""

from __future__ import annotations

import pytest
from sqlalchemy import NullPool, create_engine

from elspeth.core.landscape.database.errors import LandscapeError
from elspeth.core.landscape.migration import _steps as module
from elspeth.core.landscape.migration._steps import check_filled, filled_columns
from elspeth.schema.snapshots import ColumnSnapshot, Kind, Snapshot
from elspeth.schema.steps import Step, step_between
from tests.codegen.snapshots import column, snapshot, table


def use_epochs(monkeypatch: pytest.MonkeyPatch, *epochs: Snapshot) -> None:
    """Replace the known epochs."""

    def step_into(epoch: int) -> Step:
        return step_between(epochs[epoch - 2] if epoch > 1 else None, epochs[epoch - 1])

    monkeypatch.setattr(module, "load_snapshot", lambda epoch: epochs[epoch - 1])
    monkeypatch.setattr(module, "load_step", step_into)


def test_backfilled_columns_are_known_by_their_latest_names(monkeypatch: pytest.MonkeyPatch) -> None:
    use_epochs(
        monkeypatch,
        snapshot(1, table("notes", column("a")), table("others")),
        snapshot(2, table("notes", column("a"), column("b", backfill="old.a")), table("others")),
        snapshot(
            3,
            table("memos", column("a", backfill="'x'"), column("c", renamed_from="b"), renamed_from="notes"),
            table("others"),
        ),
        snapshot(
            4, table("notes"), table("memos", column("a"), column("c"), column("d", backfill="1")), table("others")
        ),
    )
    assert filled_columns(1, 4) == {"memos": {"a", "c", "d"}}
    assert filled_columns(3, 4) == {"memos": {"d"}}
    assert filled_columns(4, 4) == {}


def test_backfilled_columns_stay_known_when_other_tables_change(monkeypatch: pytest.MonkeyPatch) -> None:
    use_epochs(
        monkeypatch,
        snapshot(1, table("notes"), table("others")),
        snapshot(2, table("notes", column("a", backfill="'x'")), table("others")),
        snapshot(3, table("notes", column("a")), table("others", column("b"))),
    )
    assert filled_columns(1, 3) == {"notes": {"a"}, "others": frozenset()}


NUMBER = column("a", "bigint", bounds=(0, 9), backfill="?")
SHORT = column("a", "string(3)", backfill="?")
INSTANT = column("a", "timestamp", backfill="?")
FLAG = column("a", "integer", kind=Kind.BOOLEAN, backfill="?")


@pytest.mark.parametrize(
    ("filled", "value", "expected"),
    [
        (NUMBER, "'x'", "an integer from 0 to 9"),
        (NUMBER, "10", "an integer from 0 to 9"),
        (NUMBER, "1.5", "an integer from 0 to 9"),
        (column("a", "double", backfill="?"), "'x'", f"a float from {1 - 2**53} to {2**53 - 1}"),
        (SHORT, "'long'", "text of at most 3 characters without NUL or lone surrogates"),
        (column("a", pattern="^b+$", backfill="?"), "'a'", "text matching ^b+$"),
        (column("a", values=("b", "c"), backfill="?"), "'a'", "one of b, c"),
        (column("a", kind=Kind.JSON, backfill="?"), "'{'", "JSON text"),
        (INSTANT, "'yesterday'", "a time"),
        (FLAG, "2", "0 or 1"),
        (column("a", "bigint", bounds=(1, 9), backfill="?"), "0", "an integer from 1 to 9"),
        (column("a", values=("b", "c"), backfill="?"), "''", "one of b, c"),
        (INSTANT, "0.0", "a time"),
    ],
)  # fmt: skip
def test_a_value_that_the_column_does_not_allow_is_found(
    filled: ColumnSnapshot, value: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_epochs(monkeypatch, snapshot(1, table("notes")), snapshot(2, table("notes", filled)))
    with pytest.raises(LandscapeError) as caught:
        check_value(value)
    said = value.strip("'") if value[0] != "'" else value
    assert str(caught.value) == f"the migration would fill notes.a with {said}, expected {expected}"


@pytest.mark.parametrize(
    ("filled", "value"),
    [
        (NUMBER, "9"),
        (NUMBER, "NULL"),
        (column("a", "double", backfill="?"), "1.5"),
        (SHORT, "'abc'"),
        (column("a", pattern="^b+$", backfill="?"), "'bb'"),
        (column("a", values=("b", "c"), backfill="?"), "'c'"),
        (column("a", kind=Kind.JSON, backfill="?"), "'{}'"),
        (INSTANT, "'2026-01-02 03:04:05.000006'"),
        (FLAG, "1"),
        (column("a", "bigint"), "'never filled'"),
    ],
)
def test_a_value_that_the_column_allows_is_accepted(
    filled: ColumnSnapshot, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_epochs(monkeypatch, snapshot(1, table("notes")), snapshot(2, table("notes", filled)))
    check_value(value)


def check_value(value: str) -> None:
    """Check a table that holds the value.

    Like SQLite, it stores any value in any column.
    """
    with create_engine("sqlite://", poolclass=NullPool).connect() as connection:
        connection.exec_driver_sql("CREATE TABLE notes (id, a)")
        connection.exec_driver_sql(f"INSERT INTO notes VALUES ('i', {value})")  # noqa: S608 - the test's own
        check_filled(connection, 1, 2)
