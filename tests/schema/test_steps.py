"""The steps from one snapshot to the next."""

from __future__ import annotations

from elspeth.schema.snapshots import IndexSnapshot, LifecycleSnapshot, TableSnapshot
from elspeth.schema.steps import Copy, Step, step_between
from tests.codegen.snapshots import column, snapshot, table


def from_to(old: TableSnapshot, *new: TableSnapshot) -> Step:
    return step_between(snapshot(1, old), snapshot(2, *new))


def test_without_an_earlier_epoch_every_table_is_created() -> None:
    first = snapshot(1, table("notes"), table("remarks"))
    assert step_between(None, first) == Step(created=("notes", "remarks"), copies=())


def test_unchanged_tables_are_left_alone() -> None:
    assert from_to(table("notes"), table("notes")) == Step(created=(), copies=())


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
    assert from_to(old, new) == Step(
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


def test_a_column_that_is_only_filled_is_a_change() -> None:
    (copy,) = from_to(table("notes", column("text")), table("notes", column("text", backfill="'x'"))).copies
    assert (copy.expressions, copy.kept) == ((("id", "old.id"), ("text", "'x'")), (("id", "id"),))


def test_triggers_and_properties_of_exports_are_not_changes() -> None:
    new = TableSnapshot(
        name="notes",
        record_type="remark",
        columns=(column("id", nullable=False),),
        primary_key=table("notes").primary_key,
        lifecycle=LifecycleSnapshot(status=None, final=(), while_open=(), afterwards=()),
        export_order=("id",),
    )
    assert from_to(table("notes"), new) == Step(created=(), copies=())


def test_tables_that_refer_to_a_changed_one_are_rebuilt_with_it() -> None:
    def tables(*more: str) -> tuple[TableSnapshot, ...]:
        return (
            table("notes", *map(column, more)),
            table("remarks", references=("notes",)),
            table("answers", references=("remarks",)),
            table("others"),
        )

    step = step_between(snapshot(1, *tables()), snapshot(2, *tables("text")))
    assert [copy.table for copy in step.copies] == ["notes", "remarks", "answers"]
