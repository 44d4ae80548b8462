"""Rules among records, and messages about broken ones."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from sqlalchemy.exc import IntegrityError

from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.records.integrity import check_change, explain_refusal, is_open
from elspeth.core.landscape.records.mapping import mapper, record_type_of
from elspeth.schema.checks import AuditIntegrityError
from elspeth_schema.contracts import AuditRecord
from elspeth_schema.records import (
    BATCH,
    CALL,
    NODE,
    NODE_STATE,
    OPERATION,
    RECORD_TYPES,
    RUN,
    TOKEN_OUTCOME,
    RecordType,
)
from tests.fixtures.rich_run import recorded, rich_run

RUN_ID = "run-1"
MOMENT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture
def filled(landscape: LandscapeDB) -> LandscapeDB:
    """Record two runs with the same ids."""
    recorded(landscape, rich_run(RUN_ID))
    recorded(landscape, rich_run("run-2"))
    return landscape


def records_of(record_type: RecordType[AuditRecord]) -> list[dict[str, object]]:
    """Return the rows of the run's records of a type."""
    return [mapper(record_type).to_row(each) for each in rich_run(RUN_ID) if record_type_of(each) is record_type]


def refusal(db: LandscapeDB, record_type: RecordType[AuditRecord], row: dict[str, object], *, new: bool) -> str:
    error = IntegrityError("INSERT", None, Exception("a rule of the database"))
    with db.connection() as connection:
        return str(explain_refusal(connection, record_type, row, error, new=new))


# -- what the database refused ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", RECORD_TYPES)
def test_a_rule_that_is_none_of_the_schemas_is_told_in_the_words_of_the_database(
    filled: LandscapeDB, name: str
) -> None:
    record_type = RECORD_TYPES[name]
    for row in records_of(record_type):
        key = " ".join(f"{part}={row[part]!r}" for part in record_type.key)
        assert refusal(filled, record_type, row, new=False) == (
            f"{record_type.table.name} {key}: {record_type.key[-1]}: expected a record that the schema allows,"
            " got 'Exception, whose message may hold values of rows'"
        )


REPEATED = {
    "run_process": ["attempt"],
    "edge": ["from_node_id, label"],
    "source_input": ["node_id, ordinal"],
    "row": ["row_index"],
    "node_state": ["token_id, node_id, attempt"],
    "call": ["operation_id, call_index", "state_id, call_index"],
    "routing_event": ["routing_group_id, ordinal"],
    "batch_output": ["batch_id, output_type, output_id"],
    "token_outcome": ["outcome_id", "token_id"],  # the first is of an outcome that is not the last
}
"""The values that a second record under another key would repeat, by type."""


OWN_KEYS = [
    name
    for name, kind in RECORD_TYPES.items()
    if name in {record_type_of(each).name for each in rich_run()}
    and kind.key[-1] not in {column for reference in kind.references for column in reference.columns}
]
"""The types whose keys end with a value of their own."""


@pytest.mark.parametrize("name", OWN_KEYS)
def test_a_second_record_with_the_values_of_another_is_refused_for_what_must_be_unique(
    filled: LandscapeDB, name: str
) -> None:
    record_type = RECORD_TYPES[name]
    last = record_type.key[-1]
    found = set()
    for row in records_of(record_type):
        message = refusal(filled, record_type, row | {last: "fresh"}, new=True)
        fields, _, _ = message.partition("='fresh': ")[2].partition(": expected what no other ")
        found.add(fields.partition(":")[0])
    assert found == set(REPEATED.get(name, [last]))


def test_each_rule_about_unique_values_is_told_in_full(filled: LandscapeDB) -> None:
    (outcome, *_) = [row for row in records_of(TOKEN_OUTCOME) if row["is_terminal"]]
    assert refusal(filled, TOKEN_OUTCOME, outcome | {"outcome_id": "fresh"}, new=True) == (
        "token_outcomes run_id='run-1' outcome_id='fresh': token_id: expected what no other token_outcome of the same"
        f" run with is_terminal = 1 has, got {outcome['token_id']!r}"
    )
    (state, *_) = records_of(NODE_STATE)
    assert refusal(filled, NODE_STATE, state | {"state_id": "fresh", "node_id": "node-2"}, new=True).endswith(
        ": token_id, step_index, attempt: expected what no other node_state of the same run has,"
        f" got [{state['token_id']!r}, {state['step_index']}, {state['attempt']}]"
    )
    assert refusal(filled, NODE_STATE, state, new=True) == (
        f"node_states run_id='run-1' state_id={state['state_id']!r}: state_id: expected a key that is not yet used,"
        f" got {state['state_id']!r}"
    )
    assert refusal(filled, NODE, {"run_id": "run-3", "node_id": "source"}, new=True) == (
        "nodes run_id='run-3' node_id='source': run_id: expected an existing run, got 'run-3'"
    )


def test_a_key_of_another_run_is_not_used_yet(filled: LandscapeDB) -> None:
    (node, *_) = records_of(NODE)
    recorded(filled, rich_run("run-3")[:1])
    assert refusal(filled, NODE, node | {"run_id": "run-3"}, new=True).endswith(
        ": node_id: expected a record that the schema allows, got 'Exception, whose message may hold values of rows'"
    )


# -- lifecycles ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("record_type", "status", "expected"),
    [
        (RUN, "running", True),
        (RUN, "interrupted", True),
        (RUN, "completed", False),
        (RUN, "failed", False),
        (NODE_STATE, "open", True),
        (NODE_STATE, "pending", True),
        (NODE_STATE, "completed", False),
        (NODE_STATE, "failed", False),
        (OPERATION, "open", True),
        (OPERATION, "completed", False),
        (BATCH, "draft", True),
        (BATCH, "executing", True),
        (BATCH, "completed", False),
        (CALL, "success", False),
    ],
)
def test_a_record_is_open_until_its_status_is_final(
    record_type: RecordType[AuditRecord], status: str, expected: bool
) -> None:
    assert is_open(record_type, {"status": status}) is expected


def test_a_run_may_be_exported_while_it_is_open_and_afterwards() -> None:
    (run, *_) = records_of(RUN)
    for status in ("running", "completed"):
        before = run | {"status": status, "exported_at": None}
        check_change(RUN, before, before | {"exported_at": MOMENT, "reproducibility_grade": None})


def test_a_time_that_may_not_change_is_told_as_exports_have_it() -> None:
    (run, *_) = records_of(RUN)
    with pytest.raises(AuditIntegrityError) as caught:
        check_change(RUN, run | {"started_at": MOMENT}, run | {"started_at": MOMENT.replace(hour=4)})
    assert str(caught.value) == (
        "runs run_id='run-1': started_at: expected '2026-01-02T03:04:05.000000Z', unchanged while status is completed,"
        " got '2026-01-02T04:04:05.000000Z'"
    )
