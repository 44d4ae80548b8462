"""The mapping of records, compared with a plain, slow one."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from datetime import UTC, datetime
from enum import StrEnum
from types import UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, MetaData, Table, inspect, select, text

from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.records.mapping import mapper, record_type_of, reshape
from elspeth.schema.checks import AuditIntegrityError
from elspeth_schema import contracts
from elspeth_schema.contracts import (
    AuditRecord,
    Call,
    CallStatus,
    CallType,
    NodeStateCompleted,
    NodeStateFailed,
    NodeStateOpen,
)
from elspeth_schema.records import RECORD_TYPES, TOKEN, RecordType
from elspeth_schema.tables import metadata
from elspeth_strategies import SHAPES, Shape, records
from tests.fixtures.landscapes import NewLandscape
from tests.fixtures.records import HASH

EACH_SHAPE = pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.contract.__name__)
EACH_TYPE = pytest.mark.parametrize("record_type", RECORD_TYPES.values(), ids=lambda record_type: record_type.name)

MOMENT = datetime(2026, 3, 1, 12, 30, 0, 5, tzinfo=UTC)
CARRIER = "x"
OPEN = NodeStateOpen(
    run_id="run",
    state_id="state",
    token_id=CARRIER,
    node_id="node",
    step_index=0,
    attempt=0,
    input_hash=HASH,
    started_at=MOMENT,
)
CALL = Call(
    run_id="run",
    call_id="call",
    state_id="state",
    call_index=0,
    call_type=CallType.HTTP,
    status=CallStatus.SUCCESS,
    request_hash=HASH,
    response_hash=HASH,
    latency_ms=-0.0,
    created_at=MOMENT,
)


@pytest.fixture(scope="module")
def reflected() -> MetaData:
    """Return the tables as the database describes them."""
    found = MetaData()
    with LandscapeDB.in_memory() as landscape:
        found.reflect(landscape.engine)
    return found


# -- the reference mapper --------------------------------------------------------------------------------------------


def field_kind(contract: type[AuditRecord], name: str) -> type:
    """Return the type of a field's values, without None."""
    hint = get_type_hints(contract)[name]
    options = [each for each in get_args(hint) if each is not type(None)] if type(hint) is UnionType else [hint]
    (option,) = options
    kind: type = type(get_args(option)[0]) if get_origin(option) is Literal else option
    return kind


def reference_row(record: AuditRecord, table: Table) -> dict[str, object]:
    row: dict[str, object] = {}
    for column in table.columns:
        value = getattr(record, column.name, None)
        if isinstance(value, StrEnum):
            value = value.value
        if isinstance(value, bool):
            value = 1 if value else 0
        row[column.name] = value
    return row


def reference_contract(contract: type[AuditRecord], row: dict[str, Any]) -> AuditRecord:
    arguments: dict[str, Any] = {}
    for field in dataclasses.fields(contract):
        value = row[field.name]
        kind = field_kind(contract, field.name)
        if value is not None and issubclass(kind, StrEnum | bool | float):
            value = kind(value)
        if isinstance(value, datetime):
            value = value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
        arguments[field.name] = value
    return contract(**arguments)


def reference_record(record_type: str, record: AuditRecord, table: Table, *, withheld: bool) -> dict[str, object]:
    exported: dict[str, object] = {"record_type": record_type}
    hidden = {column.name for column in RECORD_TYPES[record_type].columns if column.withheld}
    for column in table.columns:
        value = getattr(record, column.name, None)
        if isinstance(value, datetime):
            value = value.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        if withheld or column.name not in hidden:
            exported[column.name] = value.value if isinstance(value, StrEnum) else value
    return exported


# -- agreement -------------------------------------------------------------------------------------------------------


@EACH_SHAPE
@given(data=st.data())
@settings(max_examples=10)
def test_rows_equal_those_of_the_reference_mapper(reflected: MetaData, shape: Shape, data: st.DataObject) -> None:
    record = data.draw(records(shape))
    convert = mapper(RECORD_TYPES[shape.record_type])
    table = reflected.tables[convert.record_type.table.name]
    row = reference_row(record, table)
    assert list(convert.to_row(record).items()) == list(row.items())
    assert convert.from_row(list(row.values())) == reference_contract(shape.contract, row) == record


@EACH_SHAPE
@given(data=st.data())
@settings(max_examples=10)
def test_exported_records_equal_those_of_the_reference_mapper(
    reflected: MetaData, shape: Shape, data: st.DataObject
) -> None:
    record, withheld = data.draw(records(shape)), data.draw(st.booleans())
    convert = mapper(RECORD_TYPES[shape.record_type])
    table = reflected.tables[convert.record_type.table.name]
    expected = reference_record(shape.record_type, record, table, withheld=withheld)
    exported = convert.to_record(list(reference_row(record, table).values()), withheld=withheld)
    assert list(exported.items()) == list(expected.items())
    hidden = set() if withheld else {column.name for column in convert.record_type.columns if column.withheld}
    seen = {name: None if name in hidden else value for name, value in reference_row(record, table).items()}
    assert convert.from_record(expected) == reference_contract(shape.contract, seen)


@pytest.fixture(scope="module")
def without_references(new_landscape: NewLandscape) -> Iterator[Connection]:
    """Open a connection that does not check references."""
    with new_landscape() as landscape, landscape.engine.connect() as connection:
        if connection.dialect.name == "sqlite":
            driver = connection.connection.driver_connection
            assert driver is not None
            driver.execute("PRAGMA foreign_keys = OFF")
        with connection.begin():
            if connection.dialect.name == "postgresql":
                connection.execute(text("SET LOCAL session_replication_role = replica"))
            yield connection


@EACH_SHAPE
@given(data=st.data())
@settings(max_examples=5)
def test_a_record_round_trips_through_the_database(
    without_references: Connection, reflected: MetaData, shape: Shape, data: st.DataObject
) -> None:
    record = data.draw(records(shape))
    convert = mapper(RECORD_TYPES[shape.record_type])
    table = convert.record_type.table
    with without_references.begin_nested() as savepoint:
        without_references.execute(table.insert(), convert.to_row(record))
        (row,) = without_references.execute(select(table).where(table.c.run_id == record.run_id)).all()
        savepoint.rollback()
    assert convert.from_row(row) == record
    expected = reference_record(shape.record_type, record, reflected.tables[table.name], withheld=True)
    assert convert.to_record(row, withheld=True) == expected


def test_every_shape_is_tested() -> None:
    assert {shape.contract for shape in SHAPES} == set(get_args(AuditRecord))
    assert {shape.record_type for shape in SHAPES} == set(RECORD_TYPES)


# -- nothing is left out ---------------------------------------------------------------------------------------------


BOOKKEEPING = [
    *("schema_migrations", "run_secrets", "seals", "seal_leaves", "held_items", "adoptions", "pruned_runs", "run_log"),
    "log_places",
]


def test_every_table_of_records_has_one_record_type() -> None:
    tables = [record_type.table.name for record_type in RECORD_TYPES.values()]
    assert [*tables, *BOOKKEEPING] == list(metadata.tables)


@EACH_TYPE
def test_every_column_is_in_its_record_or_withheld_for_a_reason(record_type: RecordType[AuditRecord]) -> None:
    exported = mapper(record_type).to_record([None] * len(record_type.columns))
    reasons = {column.name: column.withheld for column in record_type.columns if column.withheld is not None}
    columns = record_type.table.columns.keys()
    assert list(exported) == ["record_type", *(name for name in columns if name not in reasons)]
    assert reasons.keys() <= set(columns)
    assert all(reason.strip() for reason in reasons.values())


@EACH_TYPE
def test_every_column_is_a_field_of_a_contract(record_type: RecordType[AuditRecord]) -> None:
    fields = {field.name for shape in record_type.shapes.values() for field in dataclasses.fields(shape)}
    assert fields == set(record_type.table.columns.keys())


def test_the_database_has_the_columns_that_the_schema_says(new_landscape: NewLandscape) -> None:
    with new_landscape() as landscape:
        inspector = inspect(landscape.engine)
        found = {name: [column["name"] for column in inspector.get_columns(name)] for name in metadata.tables}
    assert found == {name: list(table.columns.keys()) for name, table in metadata.tables.items()}


def test_a_record_knows_its_type() -> None:
    assert record_type_of(OPEN) is RECORD_TYPES["node_state"]


# -- refusals --------------------------------------------------------------------------------------------------------


def token_record(**changes: object) -> dict[str, object]:
    token = contracts.Token(run_id="run", token_id=CARRIER, row_id="row", created_at=MOMENT)
    convert = mapper(TOKEN)
    return {**convert.to_record(list(convert.to_row(token).values())), **changes}


@pytest.mark.parametrize(
    ("record", "problem"),
    [
        (token_record(colour="red"), "colour: expected a field of this record type, got 'an unknown field'"),
        (
            {name: value for name, value in token_record().items() if name != "branch_name"},
            "branch_name: expected a value or null, got 'no such field'",
        ),
        *(
            (token_record(created_at=moment), f"created_at: expected a datetime in UTC, got {moment!r}")
            for moment in (
                "2026-03-01",
                "2026-03-01T12:30:00Z",
                "2026-03-01T12:30:00.000000",
                "2026-03-01T12:30:00.000000+00:00",
                "2026-03-01T13:30:00.000000+01:00",
                "0001-01-01T00:00:00.000000+14:00",
                "yesterday",
                1,
            )
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_record_that_no_export_holds_is_refused(record: dict[str, object], problem: str) -> None:
    with pytest.raises(AuditIntegrityError) as caught:
        mapper(TOKEN).from_record(record)
    assert str(caught.value) == f"tokens run_id='run' token_id='x': {problem}"


def test_converting_a_record_to_another_shape_keeps_common_fields() -> None:
    ending = {"status": contracts.NodeStateStatus.FAILED, "duration_ms": 1.0, "completed_at": MOMENT}
    assert reshape(OPEN, NodeStateFailed, ending) == NodeStateFailed(
        run_id="run",
        state_id="state",
        token_id=CARRIER,
        node_id="node",
        step_index=0,
        attempt=0,
        input_hash=HASH,
        started_at=MOMENT,
        duration_ms=1.0,
        completed_at=MOMENT,
    )


def test_a_shape_that_requires_a_missing_value_is_refused() -> None:
    with pytest.raises(AuditIntegrityError) as caught:
        reshape(OPEN, NodeStateCompleted, {"status": contracts.NodeStateStatus.COMPLETED, "duration_ms": 1.0})
    assert str(caught.value) == (
        "node_states run_id='run' state_id='state': output_hash: expected text matching ^[0-9a-f]{64}$, got None"
    )


def row_of_state(**changes: object) -> list[object]:
    return list((mapper(record_type_of(OPEN)).to_row(OPEN) | changes).values())


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"output_hash": HASH}, f"output_hash: expected nothing while status is open, got {HASH!r}"),
        ({"error_json": "{}", "duration_ms": 1}, "duration_ms: expected nothing while status is open, got 1.0"),
        (
            {"completed_at": "2026-03-01 12:30:00.000005"},
            f"completed_at: expected nothing while status is open, got {MOMENT!r}",
        ),
        ({"status": "odd"}, "status: expected one of open, pending, completed, failed, got 'odd'"),
        ({"status": None}, "status: expected one of open, pending, completed, failed, got None"),
    ],
)
def test_a_row_that_fits_no_shape_is_refused_for_the_value_that_does_not_fit(
    changes: dict[str, object], problem: str
) -> None:
    with pytest.raises(AuditIntegrityError) as caught:
        mapper(record_type_of(OPEN)).from_row(row_of_state(**changes))
    assert str(caught.value) == f"node_states run_id='run' state_id='state': {problem}"


def test_an_exported_record_that_fits_no_shape_is_refused_for_the_value_that_does_not_fit() -> None:
    convert = mapper(record_type_of(OPEN))
    record = convert.to_record(row_of_state(), withheld=True)
    with pytest.raises(AuditIntegrityError) as caught:
        convert.from_record({**record, "completed_at": "2026-03-01T12:30:00.000005Z"})
    assert str(caught.value) == (
        "node_states run_id='run' state_id='state': completed_at: expected nothing while status is open,"
        f" got {MOMENT!r}"
    )


def test_a_change_may_empty_a_field_and_may_set_none_that_the_shape_lacks() -> None:
    failed = reshape(
        OPEN,
        NodeStateFailed,
        {"status": contracts.NodeStateStatus.FAILED, "duration_ms": 1.0, "completed_at": MOMENT, "error_json": "{}"},
    )
    assert reshape(failed, NodeStateFailed, {"error_json": None, "duration_ms": 0.0}) == dataclasses.replace(
        failed, error_json=None, duration_ms=0.0
    )
    with pytest.raises(AuditIntegrityError) as caught:
        reshape(OPEN, NodeStateOpen, {"status": contracts.NodeStateStatus.OPEN, "duration_ms": 1.0})
    assert str(caught.value) == (
        "node_states run_id='run' state_id='state': duration_ms: expected nothing while status is open, got 1.0"
    )


def test_a_stored_time_that_is_none_is_shown_as_it_is() -> None:
    convert = mapper(TOKEN)
    token = contracts.Token(run_id="run", token_id=CARRIER, row_id="row", created_at=MOMENT)
    row = convert.to_row(token) | {"created_at": "yesterday"}
    assert convert.to_record(list(row.values()))["created_at"] == "yesterday"


def test_negative_zero_is_read_as_zero(without_references: Connection) -> None:
    """Read -0.0 as 0.0: exports have no sign of zero.

    Canonical JSON writes -0.0 as 0 (RFC 8785, section 3.2.2.3); PostgreSQL keeps the sign.
    """
    record_type = record_type_of(CALL)
    without_references.execute(record_type.table.insert(), mapper(record_type).to_row(CALL))
    (row,) = without_references.execute(select(record_type.table)).all()
    found = mapper(record_type).from_row(row)
    assert isinstance(found, Call)
    assert repr(found.latency_ms) == "0.0"
