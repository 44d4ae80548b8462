"""Every broken constraint is refused.

By contract, JSON Schema and database, and by the patterns of lines.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import datetime
from importlib.resources import files
from typing import Any

import jsonschema
import orjson
import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, insert, text
from sqlalchemy.exc import IntegrityError

from elspeth.core.landscape.records.mapping import mapper
from elspeth.schema.checks import AuditIntegrityError
from elspeth_schema.lines import LINES
from elspeth_schema.records import RECORD_TYPES
from elspeth_strategies import INVALID, SHAPES, Shape, records
from tests.fixtures.landscapes import NewLandscape

VALIDATOR = jsonschema.Draft202012Validator(
    json.loads(files("elspeth_schema").joinpath("export.schema.json").read_text(encoding="utf-8"))
)

each_shape = pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.contract.__name__)


def exported_form(shape: Shape, data: st.DataObject) -> dict[str, Any]:
    record = data.draw(records(shape))
    convert = mapper(RECORD_TYPES[shape.record_type])
    return convert.to_record(list(convert.to_row(record).values()))


@each_shape
@given(data=st.data())
@settings(max_examples=5)
def test_the_contract_refuses_every_broken_constraint(shape: Shape, data: st.DataObject) -> None:
    valid = exported_form(shape, data)
    convert = mapper(RECORD_TYPES[shape.record_type])
    convert.from_record(valid)
    for case in INVALID[shape.contract]:
        note(case.name)
        with pytest.raises(AuditIntegrityError, match=rf"^{convert.record_type.table.name} run_id="):
            convert.from_record({**valid, **case.changes})


@each_shape
@given(data=st.data())
@settings(max_examples=5)
def test_the_json_schema_refuses_every_broken_constraint(shape: Shape, data: st.DataObject) -> None:
    valid = exported_form(shape, data)
    assert VALIDATOR.is_valid(valid)
    for case in INVALID[shape.contract]:
        note(case.name)
        assert VALIDATOR.is_valid({**valid, **case.changes}) != case.json_schema


@each_shape
@given(data=st.data())
@settings(max_examples=5)
def test_the_pattern_of_a_line_matches_no_record_that_breaks_a_constraint(shape: Shape, data: st.DataObject) -> None:
    valid = exported_form(shape, data)
    patterns = [re.compile(pattern) for pattern in LINES[shape.record_type].patterns]
    for case in INVALID[shape.contract]:
        if case.name.endswith("_not_json"):
            continue  # the database checks JSON
        note(case.name)
        line = orjson.dumps({**valid, **case.changes}, option=orjson.OPT_SORT_KEYS)
        assert [pattern for pattern in patterns if pattern.fullmatch(line)] == []


@pytest.fixture(scope="module")
def without_references(new_landscape: NewLandscape) -> Iterator[Connection]:
    """Return a connection that checks no references.

    Thus a record can be tried alone.
    """
    with new_landscape() as database, database.engine.connect() as connection:
        if connection.dialect.name == "sqlite":
            driver = connection.connection.driver_connection
            assert driver is not None
            driver.execute("PRAGMA foreign_keys = OFF")
        with connection.begin() as transaction:
            if connection.dialect.name == "postgresql":
                connection.execute(text("SET LOCAL session_replication_role = replica"))
            yield connection
            transaction.rollback()


@each_shape
@given(data=st.data())
@settings(max_examples=5)
def test_the_database_refuses_every_broken_constraint(
    without_references: Connection, shape: Shape, data: st.DataObject
) -> None:
    convert = mapper(RECORD_TYPES[shape.record_type])
    table = convert.record_type.table
    valid = convert.to_row(data.draw(records(shape)))
    with without_references.begin_nested() as savepoint:
        without_references.execute(insert(table), valid)
        savepoint.rollback()
    for case in INVALID[shape.contract]:
        if case.database is None:
            continue
        note(case.name)
        broken = {**valid, **{name: database_value(value) for name, value in case.changes.items()}}
        expected = case.database if case.database != "NOT NULL" else "NOT NULL constraint|not-null constraint"
        with pytest.raises(IntegrityError, match=expected), without_references.begin_nested():
            without_references.execute(insert(table), broken)


def database_value(value: str | float | None) -> object:
    if isinstance(value, str) and value.endswith("Z"):
        return datetime.fromisoformat(value)
    return value
