"""The rules of records of older epochs."""

from __future__ import annotations

import json
from typing import Any

import pytest

from elspeth.core.landscape.database.writing import stored_times
from elspeth.core.landscape.exporting._record_rules import BrokenRuleError, SchemaRules, UnfitRecordError, load_forms
from elspeth.core.landscape.exporting.reader import read_export
from elspeth_schema.records import RECORD_TYPES
from tests.fixtures.kept import HMAC_KEY, exports_of

OLDER = 5

TEXT = "expected text of at most 64 characters without NUL or lone surrogates"
RANGE = "from -9007199254740991 to 9007199254740991, or nothing"

Record = dict[str, Any]


def records_of(name: str) -> list[Record]:
    """Return the records of a type in an older export."""
    lines = (exports_of(OLDER) / "trail.jsonl").read_bytes().splitlines()
    return [record for record in map(json.loads, lines) if record["record_type"] == name]


def refusal(rules: SchemaRules, record: Record) -> str:
    with pytest.raises(BrokenRuleError) as refused:
        rules.check(record)
    return str(refused.value)


def test_a_signed_export_of_an_older_epoch_is_read() -> None:
    export = read_export(exports_of(OLDER) / "signed.jsonl", signing_key=HMAC_KEY)
    rows = list(export.rows(stored_times("sqlite")))
    assert (len(rows), export.summary.record_count, export.summary.signed) == (35, 35, True)


@pytest.mark.parametrize(
    ("name", "changes", "problem"),
    [
        ("token", {"note": None}, "note: expected a field of this record type, got an unknown field"),
        ("token", {"branch_name": ...}, "branch_name: expected a value or null, got no such field"),
        ("token", {"row_id": None}, f"row_id: {TEXT}, got None"),
        ("token", {"row_id": 5}, f"row_id: {TEXT}, got 5"),
        ("token", {"row_id": "x" * 65}, f"row_id: {TEXT}, got {'x' * 65!r}"),
        ("token", {"step_in_pipeline": 1.0}, f"step_in_pipeline: expected an integer {RANGE}, got 1.0"),
        ("token", {"step_in_pipeline": True}, f"step_in_pipeline: expected an integer {RANGE}, got True"),
        (
            "token",
            {"created_at": "2026-02-01T00:00:02.999Z"},
            "created_at: expected a datetime in UTC, got '2026-02-01T00:00:02.999Z'",
        ),
        (
            "token",
            {"created_at": "2026-02-01T01:00:02.999999+01:00"},
            "created_at: expected a datetime in UTC, got '2026-02-01T01:00:02.999999+01:00'",
        ),
        (
            "token",
            {"created_at": "0001-01-01T00:00:00.000000+01:00"},
            "created_at: expected a datetime in UTC, got '0001-01-01T00:00:00.000000+01:00'",
        ),
        ("token", {"created_at": "soon"}, "created_at: expected a datetime in UTC, got 'soon'"),
        ("operation", {"duration_ms": "1"}, f"duration_ms: expected a float {RANGE}, got '1'"),
        ("run", {"settings_json": "{"}, "settings_json: expected JSON text, got '{'"),
        ("token_outcome", {"is_terminal": 1}, "is_terminal: expected true or false, got 1"),
        (
            "validation_error",
            {"row_data_json": "secret"},
            "row_data_json: expected JSON text, or nothing, got another value",
        ),
        ("token", {"row_id": ["row-a"]}, "row_id: expected text, a number, a boolean or null, got an array"),
        ("token", {"row_id": {}}, "row_id: expected text, a number, a boolean or null, got an object"),
    ],
)
def test_each_fault_of_an_older_record_has_its_message(name: str, changes: Record, problem: str) -> None:
    record = records_of(name)[0] | changes
    sound = {field: value for field, value in record.items() if value is not ...}
    assert refusal(SchemaRules(OLDER), sound) == problem


def test_a_record_of_a_later_type_does_not_fit_an_older_epoch() -> None:
    (added, *_) = RECORD_TYPES.keys() - load_forms(OLDER).keys()
    with pytest.raises(UnfitRecordError) as refused:
        SchemaRules(OLDER).check({"record_type": added})
    assert str(refused.value) == f'record_type: expected one of {", ".join(load_forms(OLDER))}, got "{added}"'


@pytest.mark.parametrize("epoch", [OLDER, OLDER + 1])
@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("run", "run_id: expected a value after 'run-completed', got 'run-completed'"),
        ("row", "row_index: expected a value after 0, got 0"),
        (
            "token_parent",
            "token_id, parent_token_id: expected a value after 'token-2' 'token-1', got 'token-2' 'token-1'",
        ),
        ("batch_member", "batch_id, token_id: expected a value after 'batch-1' 'token-1', got 'batch-1' 'token-1'"),
    ],
)
def test_a_repeated_record_is_named_by_its_key(epoch: int, name: str, problem: str) -> None:
    rules, record = SchemaRules(epoch), records_of(name)[0]
    rules.check(record, sound=True)
    with pytest.raises(BrokenRuleError) as refused:
        rules.check(record, sound=True)
    assert str(refused.value) == f"{problem}: repeated, or out of order"


def test_a_token_may_have_several_parents_which_are_in_order() -> None:
    record = records_of("token_parent")[0]
    rules = SchemaRules(OLDER)
    for parent in ("token-1", "token-10", "token-2"):
        rules.check(record | {"parent_token_id": parent})
    assert refusal(rules, record | {"parent_token_id": "token-1"}) == (
        "token_id, parent_token_id: expected a value after 'token-2' 'token-2', got 'token-2' 'token-1':"
        " repeated, or out of order"
    )


def test_records_of_an_older_epoch_are_rows_in_column_order() -> None:
    record = records_of("operation")[0]
    checked = SchemaRules(OLDER).check(record)
    form = load_forms(OLDER)["operation"]
    assert checked.contract is None
    assert checked.row is not None
    found = dict(zip([column.name for column in form.columns], checked.row, strict=True))
    assert (found["operation_id"], found["duration_ms"], found["error_message"]) == ("operation-1", 0.0, None)
    assert type(found["duration_ms"]) is float
