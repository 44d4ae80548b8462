"""Straight checks of records, compared with the general ones."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elspeth.schema import checks
from elspeth.schema.checks import AuditIntegrityError
from elspeth_schema import contracts
from elspeth_schema.contracts import AdoptedValue, AuditRecord
from elspeth_strategies import SHAPES, Shape, records
from tests.fixtures.rich_run import rich_run

EACH_SHAPE = pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.contract.__name__)

ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([-1, 0, 1, 2**53 - 1, 2**53, -(2**53)]),
    st.sampled_from([-1.0, -0.0, 0.5, float("nan"), float("inf"), 2.0**53]),
    st.text(max_size=3),
    st.sampled_from(["\x00", "\ud800", "\xe9", "x" * 64, "x" * 65, "x" * 257, "a" * 64, "A" * 64, "a" * 63, "a" * 66]),
    st.sampled_from(["{}", "NaN", "[1", "completed", "open", b"x", "a " * 32, "\uff10" * 64]),
    st.sampled_from([datetime(2026, 3, 1), datetime(2026, 3, 1, tzinfo=UTC)]),  # noqa: DTZ001 - one of them is refused
)


def general(shape: type[AuditRecord]) -> checks.Contract:
    found: checks.Contract = getattr(contracts, f"_{shape.__name__.upper()}")
    return found


def unchecked(shape: type[AuditRecord], values: dict[str, Any]) -> object:
    """Return a record that nothing has checked."""
    record = object.__new__(shape)
    for name, value in values.items():
        object.__setattr__(record, name, value)
    return record


def verdict_of_general_check(shape: type[AuditRecord], values: dict[str, Any]) -> str | None:
    try:
        general(shape).check(unchecked(shape, values))
    except AuditIntegrityError as error:
        return str(error)
    return None


def verdict_of_contract(shape: type[AuditRecord], values: dict[str, Any]) -> str | None:
    try:
        shape(**values)
    except AuditIntegrityError as error:
        return str(error)
    return None


@EACH_SHAPE
@given(data=st.data())
@settings(max_examples=40)
def test_a_contract_refuses_what_its_general_check_refuses(shape: Shape, data: st.DataObject) -> None:
    record = data.draw(records(shape))
    names = [field.name for field in dataclasses.fields(record)]
    changes = data.draw(st.dictionaries(st.sampled_from(names), ODD, max_size=2))
    values = {name: getattr(record, name) for name in names} | changes
    assert verdict_of_contract(shape.contract, values) == verdict_of_general_check(shape.contract, values)


def test_usual_records_do_not_need_the_general_check(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = [dataclasses.replace(record, **in_ascii(record)) for record in rich_run()]
    assert {type(record) for record in usual} >= {shape.contract for shape in SHAPES} - {AdoptedValue}
    monkeypatch.setattr(checks.Contract, "check", None)
    assert [dataclasses.replace(record) for record in usual] == usual


def in_ascii(record: AuditRecord) -> dict[str, Any]:
    """Return changes that replace texts that are not ASCII."""
    values = {field.name: getattr(record, field.name) for field in dataclasses.fields(record)}
    texts = {name: value for name, value in values.items() if type(value) is str and not checks.is_json(value)}
    return {name: "ascii" for name, value in texts.items() if not value.isascii()}
