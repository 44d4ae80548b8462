"""Contracts refuse a wrong value for each kind of field."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from elspeth.contracts.audit import (
    AuditRecord,
    Call,
    NodeStateCompleted,
    NodeStateOpen,
    Row,
    Run,
    SecretResolution,
    TokenOutcome,
)
from elspeth.contracts.enums import CallStatus, CallType, NodeStateStatus, RowOutcome, RunStatus
from elspeth.contracts.errors import AuditIntegrityError
from tests.fixtures.records import HASH

MOMENT = datetime(2026, 3, 1, tzinfo=UTC)

VALID: Mapping[type[AuditRecord], Mapping[str, Any]] = {
    Run: {
        "run_id": "run",
        "started_at": MOMENT,
        "config_hash": HASH,
        "settings_json": "{}",
        "canonical_version": "v1",
        "status": RunStatus.RUNNING,
    },
    Row: {
        "run_id": "run",
        "row_id": "row",
        "source_node_id": "source",
        "row_index": 0,
        "source_data_hash": HASH,
        "created_at": MOMENT,
    },
    SecretResolution: {
        "run_id": "run",
        "resolution_id": "secret",
        "timestamp": 1.5,
        "env_var_name": "A",
        "source": "env",
        "fingerprint": HASH,
    },
    TokenOutcome: {
        "run_id": "run",
        "outcome_id": "outcome",
        "token_id": "t",
        "outcome": RowOutcome.COMPLETED,
        "is_terminal": True,
        "recorded_at": MOMENT,
    },
    Call: {
        "run_id": "run",
        "call_id": "call",
        "state_id": "state",
        "call_index": 0,
        "call_type": CallType.HTTP,
        "status": CallStatus.SUCCESS,
        "request_hash": HASH,
        "created_at": MOMENT,
    },
    NodeStateOpen: {
        "run_id": "run",
        "state_id": "state",
        "token_id": "t",
        "node_id": "node",
        "step_index": 0,
        "attempt": 0,
        "input_hash": HASH,
        "started_at": MOMENT,
    },
}

KEYS = {
    Run: "runs run_id='run'",
    Row: "rows run_id='run' row_id='row'",
    SecretResolution: "secret_resolutions run_id='run' resolution_id='secret'",
    TokenOutcome: "token_outcomes run_id='run' outcome_id='outcome'",
    Call: "calls run_id='run' call_id='call'",
    NodeStateOpen: "node_states run_id='run' state_id='state'",
}

ID = "text of at most 64 characters without NUL or lone surrogates"
HEX = "text matching ^[0-9a-f]{64}$"
STATUS = "one of running, interrupted, completed, failed"
INDEX = "an integer from 0 to 9007199254740991"
TIME = "a datetime in UTC"


@pytest.mark.parametrize("contract", VALID, ids=lambda contract: contract.__name__)
def test_a_valid_record_is_accepted(contract: type[AuditRecord]) -> None:
    record = contract(**VALID[contract])
    assert {name: getattr(record, name) for name in VALID[contract]} == VALID[contract]


WRONG: list[tuple[type[AuditRecord], str, object, str]] = [
    (Row, "source_node_id", "x" * 65, ID),
    (Row, "source_node_id", "a\x00b", ID),
    (Row, "source_node_id", "a\ud800b", ID),
    (Row, "source_node_id", b"source", ID),
    (Row, "source_node_id", None, ID),
    (Run, "export_error", "a\x00b", "text without NUL or lone surrogates, or nothing"),
    (Row, "source_data_hash", HASH[:-1], HEX),
    (Row, "source_data_hash", HASH.upper(), HEX),
    (Row, "source_data_hash", f"{HASH}\n", HEX),
    (Row, "source_data_hash", None, HEX),
    (Row, "row_index", -1, INDEX),
    (Row, "row_index", 2**53, INDEX),
    (Row, "row_index", 1.0, INDEX),
    (Row, "row_index", True, INDEX),
    (Row, "row_index", "0", INDEX),
    (SecretResolution, "timestamp", 1, "a float from -9007199254740991 to 9007199254740991"),
    (SecretResolution, "timestamp", math.nan, "a float from -9007199254740991 to 9007199254740991"),
    (SecretResolution, "timestamp", math.inf, "a float from -9007199254740991 to 9007199254740991"),
    (SecretResolution, "resolution_latency_ms", -0.5, "a float from 0 to 9007199254740991, or nothing"),
    (TokenOutcome, "is_terminal", 1, "true or false"),
    (TokenOutcome, "is_terminal", None, "true or false"),
    (Run, "started_at", MOMENT.replace(tzinfo=None), TIME),
    (Run, "started_at", "2026-03-01T00:00:00.000000Z", TIME),
    (Run, "completed_at", MOMENT.date(), f"{TIME}, or nothing"),
    (Run, "status", "running", STATUS),
    (Run, "status", CallStatus.SUCCESS, STATUS),
    (Run, "status", None, STATUS),
    (Run, "export_status", "pending", "one of pending, completed, failed, or nothing"),
    (Run, "settings_json", "{", "JSON text"),
    (Run, "settings_json", {}, "JSON text"),
    (Run, "settings_json", None, "JSON text"),
    (Run, "source_schema_json", "NaN", "JSON text, or nothing"),
    (NodeStateOpen, "status", NodeStateStatus.COMPLETED, "open"),
]


@pytest.mark.parametrize(
    ("contract", "field", "value", "expected"),
    WRONG,
    ids=[f"{contract.__name__}.{field}-{number}" for number, (contract, field, *_) in enumerate(WRONG)],
)
def test_a_wrong_value_is_refused(contract: type[AuditRecord], field: str, value: object, expected: str) -> None:
    with pytest.raises(AuditIntegrityError) as caught:
        contract(**{**VALID[contract], field: value})
    error = caught.value
    shown = getattr(value, "value", value)
    assert str(error) == f"{KEYS[contract]}: {field}: expected {expected}, got {shown!r}"
    assert (error.table, error.field, error.expected, error.got) == (
        KEYS[contract].split(maxsplit=1)[0],
        field,
        expected,
        value,
    )


def test_a_long_value_is_truncated_in_messages() -> None:
    with pytest.raises(AuditIntegrityError) as caught:
        Row(**{**VALID[Row], "source_data_ref": "x" * 257})
    assert str(caught.value) == (
        f"{KEYS[Row]}: source_data_ref: expected text of at most 256 characters without NUL or lone surrogates,"
        f" or nothing, got '{'x' * 79}... (259 characters)"
    )


def test_a_time_in_another_zone_is_refused() -> None:
    elsewhere = MOMENT.astimezone(timezone(timedelta(hours=1)))
    with pytest.raises(AuditIntegrityError, match=r"^runs run_id='run': started_at: expected a datetime in UTC, got "):
        Run(**{**VALID[Run], "started_at": elsewhere})


@pytest.mark.parametrize(
    ("parents", "got"),
    [({"state_id": None}, "None"), ({"operation_id": "operation"}, "'state_id and operation_id'")],
    ids=["none", "two"],
)
def test_a_call_has_exactly_one_parent(parents: dict[str, str | None], got: str) -> None:
    with pytest.raises(AuditIntegrityError) as caught:
        Call(**{**VALID[Call], **parents})
    assert str(caught.value) == f"{KEYS[Call]}: state_id, operation_id: expected exactly one of them, got {got}"


def test_a_completed_state_has_an_output() -> None:
    completed = {**VALID[NodeStateOpen], "duration_ms": 1.0, "completed_at": MOMENT, "output_hash": None}
    with pytest.raises(AuditIntegrityError) as caught:
        NodeStateCompleted(**completed)
    assert str(caught.value) == f"{KEYS[NodeStateOpen]}: output_hash: expected {HEX}, got None"


def test_an_open_state_has_no_output() -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'output_hash'"):
        NodeStateOpen(**VALID[NodeStateOpen], output_hash=HASH)  # type: ignore[call-arg]


def test_a_record_is_immutable() -> None:
    run = Run(**VALID[Run])
    with pytest.raises(dataclasses.FrozenInstanceError):
        run.status = RunStatus.FAILED  # type: ignore[misc]


def test_a_record_is_checked_again_when_it_is_replaced() -> None:
    with pytest.raises(AuditIntegrityError, match=r"^rows run_id='run' row_id='row': row_index: expected"):
        dataclasses.replace(Row(**VALID[Row]), row_index=-1)
