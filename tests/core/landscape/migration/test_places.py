"""Values of the predecessor's tables in today's columns."""

from __future__ import annotations

import dataclasses
import json

import pytest

from elspeth.core.landscape.migration._old_rows import OldRow, Plain, old_tables
from elspeth.core.landscape.migration._places import Place, remainder_of, whole_row
from elspeth.core.landscape.records.mapping import mapper
from elspeth_schema.predecessor import COLUMNS
from elspeth_schema.records import RECORD_TYPES, TOKEN_OUTCOME
from tests.fixtures.predecessor import SHAPES


@pytest.mark.parametrize(
    ("path", "outcome", "expected"),
    [
        ("default_flow", "failed", "completed"),
        ("routed", "failed", "routed"),
        ("a word of its own", "failed", "failed"),
        (None, "failed", "failed"),
        ("a word of its own", None, "a word of its own"),
    ],
)
def test_a_column_has_the_first_value_that_it_can_hold(path: str | None, outcome: str | None, expected: str) -> None:
    candidates = {"outcome": ("path", "outcome")}
    place = Place(record_type=TOKEN_OUTCOME, convert=mapper(TOKEN_OUTCOME), candidates=candidates)
    column = next(each for each in TOKEN_OUTCOME.columns if each.name == "outcome")
    assert place._value(column, {"path": path, "outcome": outcome}) == expected


# -- whole rows ------------------------------------------------------------------------------------------------------

NEWEST = list(SHAPES.values())[-1]
TABLES = old_tables(NEWEST.tables)
PLACES = {
    name: Place.of(kind, TABLES[kind.table.name]) for name, kind in RECORD_TYPES.items() if kind.table.name in TABLES
}
MOMENT = "2026-03-01T12:00:00.000000Z"


def row_of(name: str, **values: Plain) -> OldRow:
    """Return a row with only the given values."""
    return OldRow(run_id="run", values=dict.fromkeys(TABLES[name].columns) | values)


def outcome_of(**values: Plain) -> OldRow:
    """Return the last outcome of a token."""
    usual = {"outcome_id": "o", "run_id": "run", "token_id": "t", "recorded_at": MOMENT}
    return row_of(
        "token_outcomes", **{**usual, "outcome": "completed", "path": "default_flow", "completed": 1, **values}
    )


def test_the_contents_of_rows_are_withheld_whether_or_not_a_table_has_a_place() -> None:
    withheld = {
        f"{kind.table.name}.{column.name}"
        for kind in RECORD_TYPES.values()
        for column in kind.columns
        if column.withheld is not None
    } | set(COLUMNS["adopted_values"]["contents_json"])
    kinds = {kind.table.name: kind for kind in RECORD_TYPES.values()}
    seen: set[str] = set()
    for shape in SHAPES.values():
        for name, table in old_tables(shape.tables).items():
            if seen.issuperset(f"{name}.{column}" for column in table.columns):
                continue
            row = OldRow(run_id="run", values=dict.fromkeys(table.columns, "hidden"))
            value = remainder_of(table, Place.of(kinds[name], table) if name in kinds else None, row, None)
            assert value is not None
            hidden = {column for column in table.columns if f"{name}.{column}" in withheld}
            assert set(json.loads(value.contents_json or "{}")) == hidden
            assert set(json.loads(value.values_json)) == set(table.columns) - hidden
            seen |= {f"{name}.{column}" for column in table.columns}
    assert seen >= set(COLUMNS["adopted_values"]["contents_json"])


def test_words_that_today_lacks_become_adopted_values_one_and_all() -> None:
    place, table = PLACES["node"], TABLES["nodes"]
    node = row_of(
        "nodes", node_id="n", run_id="run", plugin_name="p", node_type="gate", plugin_version="1", config_hash="0" * 64,
        config_json="{}", registered_at=MOMENT, determinism="deterministic",
    )  # fmt: skip
    assert place.record_of(node) is not None
    assert place.record_of(row_of("nodes", **{**node.values, "node_type": "wizard"})) is None
    run = row_of(
        "runs", run_id="run", started_at=MOMENT, config_hash="0" * 64, settings_json="{}", canonical_version="v1",
        status="completed", completed_at=MOMENT, export_status="lost", reproducibility_grade="odd",
    )  # fmt: skip
    record = PLACES["run"].record_of(run)
    assert record is not None
    value = remainder_of(TABLES["runs"], PLACES["run"], run, record)
    assert value is not None
    assert json.loads(value.values_json) == {"export_status": "lost", "reproducibility_grade": "odd"}
    assert remainder_of(table, place, node, place.record_of(node)) is None


def test_an_outcome_that_says_nothing_new_leaves_its_path_alone() -> None:
    record = PLACES["token_outcome"].record_of(outcome_of())
    value = remainder_of(TABLES["token_outcomes"], PLACES["token_outcome"], outcome_of(), record)
    assert value is not None
    assert json.loads(value.values_json) == {"path": "default_flow"}


def test_a_row_that_is_no_record_is_kept_with_its_key_even_if_that_is_empty() -> None:
    table = TABLES["rows"]
    row = row_of("rows", row_index=3)
    value = remainder_of(table, PLACES["row"], row, None)
    assert value is not None
    assert value.source_key == "[null]"
    assert whole_row(value, table) == row.values
    part = remainder_of(table, PLACES["row"], row_of("rows", row_id="r", row_index=3), None)
    assert part is not None
    assert whole_row(part, table) == {**row.values, "row_id": "r"}


def test_a_part_of_a_row_is_no_row() -> None:
    value = remainder_of(TABLES["runs"], None, row_of("runs", status="odd", run_id="run"), None)
    assert value is not None
    assert whole_row(dataclasses.replace(value, values_json='{"status":"odd"}'), TABLES["runs"]) is None


def test_a_row_of_no_run_is_nothing_of_a_runs() -> None:
    assert (
        remainder_of(TABLES["rows"], None, dataclasses.replace(row_of("rows", row_id="r"), run_id=None), None) is None
    )


def test_the_first_row_of_a_source_keeps_its_number() -> None:
    column = next(each for each in PLACES["row"].record_type.columns if each.name == "row_index")
    assert PLACES["row"].candidates["row_index"] == ("row_index", "ingest_sequence")
    assert PLACES["row"]._value(column, {"row_index": 0, "ingest_sequence": 7}) == 0
    assert PLACES["row"]._value(column, {"row_index": None, "ingest_sequence": 7}) == 7
