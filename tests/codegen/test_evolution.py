"""The steps from one snapshot to the next, and what is refused."""

from __future__ import annotations

import pytest

from codegen.evolution import Copy, Evolution, evolve
from codegen.validate import Fault
from elspeth.schema.snapshots import IndexSnapshot, LifecycleSnapshot, TableSnapshot
from tests.codegen.snapshots import column, snapshot, table


def from_to(old: TableSnapshot | None, *new: TableSnapshot) -> Evolution:
    before = snapshot(1, old) if old is not None else snapshot(1)
    return evolve(before, snapshot(2, *new), {"notes": "Note", "remarks": "Remark"})


def faults(old: TableSnapshot, *new: TableSnapshot) -> list[Fault]:
    return list(from_to(old, *new).faults)


def fault(member: str | None, message: str, element: str = "Note") -> Fault:
    return Fault(element=element, member=member, message=message)


# -- steps -----------------------------------------------------------------------------------------------------------


def test_without_a_past_every_table_is_created() -> None:
    first = snapshot(1, table("notes"), table("remarks"))
    assert evolve(None, first, {}) == Evolution(created=("notes", "remarks"), copies=(), faults=())


def test_what_did_not_change_is_left_alone() -> None:
    assert from_to(table("notes"), table("notes")) == Evolution(created=(), copies=(), faults=())


def test_a_new_table_is_created() -> None:
    assert from_to(table("notes"), table("notes"), table("remarks")).created == ("remarks",)


def test_a_changed_table_is_copied_column_by_column() -> None:
    old = table("notes", column("text"), column("number", "integer"))
    new = table(
        "notes",
        column("text"),
        column("number", "bigint"),
        column("added"),
        column("wanted", nullable=False, backfill="'unknown'"),
        column("kind", renamed_from="text"),
    )
    new = TableSnapshot(name="notes", columns=tuple(each for each in new.columns if each.name != "text"))
    assert from_to(old, new) == Evolution(
        created=(),
        copies=(
            Copy(
                table="notes",
                source="notes",
                expressions=(
                    ("id", "old.id"),
                    ("number", "old.number"),
                    ("added", "NULL"),
                    ("wanted", "'unknown'"),
                    ("kind", "old.text"),
                ),
                kept=(("id", "id"), ("number", "number"), ("text", "kind")),
            ),
        ),
        faults=(),
    )


def test_a_renamed_table_is_filled_from_the_old_one() -> None:
    (copy,) = from_to(table("notes"), table("remarks", renamed_from="notes")).copies
    assert (copy.table, copy.source) == ("remarks", "notes")


def test_a_changed_index_is_a_change() -> None:
    new = table("notes")
    indexed = TableSnapshot(
        name=new.name,
        columns=new.columns,
        primary_key=new.primary_key,
        indexes=(IndexSnapshot(name="ix_notes_id", columns=("id",)),),
    )
    assert [copy.table for copy in from_to(table("notes"), indexed).copies] == ["notes"]


def test_triggers_and_what_only_migrations_read_are_no_change() -> None:
    new = TableSnapshot(
        name="notes",
        columns=(column("id", nullable=False, backfill="'x'"),),
        primary_key=table("notes").primary_key,
        lifecycle=LifecycleSnapshot(status=None, final=(), while_open=(), afterwards=()),
    )
    assert from_to(table("notes"), new) == Evolution(created=(), copies=(), faults=())


def test_tables_that_refer_to_a_changed_one_are_built_anew_with_it() -> None:
    def tables(*more: str) -> tuple[TableSnapshot, ...]:
        return (
            table("notes", *map(column, more)),
            table("remarks", references=("notes",)),
            table("answers", references=("remarks",)),
            table("others"),
        )

    steps = evolve(snapshot(1, *tables()), snapshot(2, *tables("text")), {})
    assert [copy.table for copy in steps.copies] == ["notes", "remarks", "answers"]


# -- refusals --------------------------------------------------------------------------------------------------------

GONE = "the column is gone, and its values with it; keep it, or give its new name's slot renamed_from"


def test_a_dropped_table() -> None:
    assert faults(table("notes"), table("remarks")) == [
        fault(
            None,
            "the table is gone, and its records with it; keep it, or give its new name's class renamed_from",
            "notes",
        )
    ]


def test_dropped_columns_in_their_order() -> None:
    old = table("notes", column("b"), column("a"))
    assert faults(old, table("notes")) == [fault("b", GONE), fault("a", GONE)]


@pytest.mark.parametrize("old", [(), (column("text"),)])
def test_a_required_column_without_a_backfill(old: tuple[()]) -> None:
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
def test_a_narrower_type(old: str, new: str) -> None:
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
def test_a_wider_type_is_no_fault(old: str, new: str) -> None:
    assert faults(table("notes", column("a", old)), table("notes", column("a", new))) == []


def test_a_narrower_type_with_a_backfill_says_where_values_come_from() -> None:
    new = column("a", "bigint", backfill="CAST(old.a AS BIGINT)")
    assert faults(table("notes", column("a")), table("notes", new)) == []


def test_a_column_renamed_from_nothing() -> None:
    old = table("notes", column("text"))
    assert faults(old, table("notes", column("body", renamed_from="txt"))) == [
        fault("body", "renamed_from: txt was not there; did you mean 'text'?"),
        fault("text", GONE),
    ]


def test_a_column_renamed_from_one_that_is_still_there() -> None:
    old = table("notes", column("text"))
    new = table("notes", column("text"), column("body", renamed_from="text"))
    assert faults(old, new) == [fault("body", "renamed_from: text is still there, so its values would be there twice")]


def test_a_table_renamed_from_nothing() -> None:
    assert faults(table("notes"), table("notes"), table("remarks", renamed_from="comments")) == [
        fault(None, "renamed_from: comments was not there; known are notes", "Remark")
    ]


def test_a_table_renamed_from_one_that_is_still_there() -> None:
    assert faults(table("notes"), table("notes"), table("remarks", renamed_from="notes")) == [
        fault(None, "renamed_from: notes is still there, so its values would be there twice", "Remark")
    ]
