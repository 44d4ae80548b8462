"""The expressions of backfills, checked before they are released."""

from __future__ import annotations

import pytest

from codegen.backfills import faults_of_backfills
from codegen.validate import Fault
from tests.codegen.snapshots import column, snapshot, table

OLD = snapshot(1, table("notes", column("text")), table("remarks", column("note_id")))


def faults(expression: str) -> list[Fault]:
    changed = table("notes", column("text"), column("length", "bigint", nullable=False, backfill=expression))
    return list(faults_of_backfills(OLD, snapshot(2, changed), {"notes": "Note"}))


@pytest.mark.parametrize(
    "expression",
    [
        "0",
        "length(old.text)",
        "(SELECT count(*) FROM remarks WHERE remarks.note_id = old.id)",
        "CASE WHEN old.text IS NULL THEN 0 ELSE 1 END",
    ],
)
def test_an_expression_refers_to_the_old_tables(expression: str) -> None:
    assert faults(expression) == []


@pytest.mark.parametrize(
    ("expression", "problem"),
    [
        ("old.nosuch", "no such column: old.nosuch"),
        ("old.length", "no such column: old.length"),
        ("(SELECT count(*) FROM answers)", "no such table: answers"),
        ("SELEKT 1", 'near "1": syntax error'),
        ("nosuch(old.text)", "no such function: nosuch"),
        ("1, 2", "row value misused"),
        ("1); DROP TABLE notes; --", "You can only execute one statement at a time."),
        ("1 -- one", "incomplete input"),
        ("max(old.text", 'near "FROM": syntax error'),
    ],
)
def test_an_expression_that_cannot_be_parsed_is_refused(expression: str, problem: str) -> None:
    message = f"backfill: {expression!r} is not an expression over the old row: {problem}"
    assert faults(expression) == [Fault(element="Note", member="length", message=message)]


def test_a_backfill_of_a_renamed_table_uses_its_old_name() -> None:
    new = table("memos", column("text", backfill="upper(old.text)"), renamed_from="notes")
    assert list(faults_of_backfills(OLD, snapshot(2, new), {})) == []
