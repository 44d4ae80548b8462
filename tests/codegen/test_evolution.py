"""Changes that are forbidden from one epoch to the next."""

from __future__ import annotations

import pytest

from codegen.evolution import faults_between
from codegen.validate import Fault
from elspeth.schema.snapshots import ColumnSnapshot, Kind, TableSnapshot
from tests.codegen.snapshots import column, snapshot, table


def faults(old: TableSnapshot, *new: TableSnapshot) -> list[Fault]:
    return list(faults_between(snapshot(1, old), snapshot(2, *new), {"notes": "Note", "remarks": "Remark"}))


def fault(member: str | None, message: str, element: str = "Note") -> Fault:
    return Fault(element=element, member=member, message=message)


GONE = "the column is gone, and its values with it; keep it, or give its new name's slot renamed_from"


def test_a_dropped_table_is_refused() -> None:
    assert faults(table("notes"), table("remarks")) == [
        fault(
            None,
            "the table is gone, and its records with it; keep it, or give its new name's class renamed_from",
            "notes",
        )
    ]


def test_dropped_columns_are_refused_in_their_order() -> None:
    old = table("notes", column("b"), column("a"))
    assert faults(old, table("notes")) == [fault("b", GONE), fault("a", GONE)]


@pytest.mark.parametrize("old", [(), (column("text"),)])
def test_a_required_column_without_a_backfill_is_refused(old: tuple[()]) -> None:
    assert faults(table("notes", *old), table("notes", column("text", nullable=False))) == [
        fault("text", "is required, but rows of older databases may have no value: give a backfill")
    ]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("string(64)", "string(32)"),
        ("string", "string(64)"),
        ("text", "varchar(8)"),
        ("bigint", "integer"),
        ("double", "float"),
        ("string", "bigint"),
        ("integer", "double"),
        ("timestamp", "string"),
    ],
)
def test_a_narrower_type_is_refused(old: str, new: str) -> None:
    assert faults(table("notes", column("a", old)), table("notes", column("a", new))) == [
        fault("a", f"{new} cannot hold every value of {old}")
    ]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("string(32)", "string(64)"),
        ("string(64)", "string"),
        ("varchar(64)", "string(64)"),
        ("text", "string"),
        ("integer", "bigint"),
        ("float", "double"),
    ],
)
def test_a_wider_type_is_accepted(old: str, new: str) -> None:
    assert faults(table("notes", column("a", old)), table("notes", column("a", new))) == []


TEXT = column("a")
NUMBER = column("a", "bigint", bounds=(0, 9))
CHOICE = column("a", values=("kept", "lost"))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (CHOICE, column("a", values=("kept",)), "lost cannot be removed: records of older databases may have it"),
        (TEXT, CHOICE, "records of older databases may have other values than kept, lost"),
        (NUMBER, column("a", "bigint", bounds=(1, 9)), "records of older databases may have values below 1"),
        (NUMBER, column("a", "bigint", bounds=(0, 8)), "records of older databases may have values above 8"),
        (TEXT, column("a", pattern="^x$"), "records of older databases may have values that do not match ^x$"),
        (TEXT, column("a", kind=Kind.JSON), "json cannot hold every value of text"),
    ],
)
def test_accepting_fewer_values_is_refused(old: ColumnSnapshot, new: ColumnSnapshot, message: str) -> None:
    assert of_records(old, new) == [fault("a", message)]


def test_adding_bounds_is_refused() -> None:
    assert [each.message for each in of_records(column("a", "bigint"), NUMBER)] == [
        "records of older databases may have values below 0",
        "records of older databases may have values above 9",
    ]


def of_records(old: ColumnSnapshot, new: ColumnSnapshot) -> list[Fault]:
    return faults(table("notes", old, record_type="note"), table("notes", new, record_type="note"))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (column("a", values=("kept",)), CHOICE),
        (CHOICE, TEXT),
        (NUMBER, column("a", "bigint", bounds=(-1, 10))),
        (NUMBER, column("a", "bigint")),
        (column("a", pattern="^x$"), TEXT),
        (CHOICE, column("a", values=("kept",), backfill="NULLIF(old.a, 'lost')")),
    ],
)
def test_accepting_more_values_or_adding_a_backfill_is_no_fault(old: ColumnSnapshot, new: ColumnSnapshot) -> None:
    assert of_records(old, new) == []


def test_tables_that_were_not_exported_are_not_compared() -> None:
    assert faults(table("notes", TEXT), table("notes", CHOICE, record_type="note")) == []


def test_a_narrower_type_with_a_backfill_is_accepted() -> None:
    new = column("a", "bigint", backfill="CAST(old.a AS BIGINT)")
    assert faults(table("notes", column("a")), table("notes", new)) == []


def test_a_column_renamed_from_an_unknown_column_is_refused() -> None:
    old = table("notes", column("text"))
    assert faults(old, table("notes", column("body", renamed_from="txt"))) == [
        fault("body", "renamed_from: txt was not there; did you mean 'text'?"),
        fault("text", GONE),
    ]


def test_a_column_renamed_from_an_existing_column_is_refused() -> None:
    old = table("notes", column("text"))
    new = table("notes", column("text"), column("body", renamed_from="text"))
    assert faults(old, new) == [fault("body", "renamed_from: text is still there, so its values would be there twice")]


def test_a_table_renamed_from_an_unknown_table_is_refused() -> None:
    assert faults(table("notes"), table("notes"), table("remarks", renamed_from="comments")) == [
        fault(None, "renamed_from: comments was not there; known are notes", "Remark")
    ]


def test_a_table_renamed_from_an_existing_table_is_refused() -> None:
    assert faults(table("notes"), table("notes"), table("remarks", renamed_from="notes")) == [
        fault(None, "renamed_from: notes is still there, so its values would be there twice", "Remark")
    ]
