"""How values of a database as found are written."""

from __future__ import annotations

import math
import struct

import jsonschema
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from elspeth.evidence.format.canonical import Json, canonical
from elspeth.evidence.format.found import (
    Column,
    Form,
    UndecodableText,
    Value,
    read_value,
    record_schema,
    row_schema,
    write_value,
)
from tests.fixtures.effort import law

INTEGERS = st.integers(-(2**63), 2**63 - 1)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
OTHER_TEXTS = st.binary().map(lambda start: UndecodableText(start + b"\xff"))
ANYTHING = st.one_of(INTEGERS, st.floats(), TEXTS, OTHER_TEXTS, st.binary())

VALUES: dict[Form, st.SearchStrategy[Value]] = {
    Form.INTEGER: INTEGERS,
    Form.REAL: st.floats(),
    Form.TEXT: TEXTS | OTHER_TEXTS,
    Form.BLOB: st.binary(),
    Form.BOOLEAN: st.booleans(),
    Form.ANY: ANYTHING,
    Form.ANY_REAL: ANYTHING,
}
CELLS = st.sampled_from(list(Form)).flatmap(lambda form: st.tuples(st.just(form), st.none() | VALUES[form]))


def identity(value: Value) -> object:
    """Return what distinguishes a value from every other."""
    if isinstance(value, float):
        return "nan" if math.isnan(value) else struct.pack("d", value)
    return type(value), value


@law(300)
@given(CELLS)
def test_a_value_is_read_as_it_was_written(cell: tuple[Form, Value]) -> None:
    form, value = cell
    line = canonical(write_value(form, value))
    assert identity(read_value(form, orjson.loads(line))) == identity(value)


@law(100)
@given(CELLS)
def test_a_written_value_fits_the_schema_of_its_column(cell: tuple[Form, Value]) -> None:
    form, value = cell
    schema = row_schema([Column(name="value", type="", form=form)])
    jsonschema.Draft202012Validator(schema).validate({"value": orjson.loads(canonical(write_value(form, value)))})


@pytest.mark.parametrize(
    ("form", "value", "written"),
    [
        (Form.INTEGER, 2**53 - 1, b"9007199254740991"),
        (Form.INTEGER, 2**53, b'{"integer":"9007199254740992"}'),
        (Form.INTEGER, -(2**63), b'{"integer":"-9223372036854775808"}'),
        (Form.REAL, 1.0, b"1"),
        (Form.REAL, 2.0**53 - 1, b"9007199254740991"),
        (Form.REAL, 2.0**53, b'{"real":"9007199254740992"}'),
        (Form.REAL, 1e21, b'{"real":"1e+21"}'),
        (Form.REAL, 1e-7, b"1e-7"),
        (Form.REAL, -0.0, b'{"real":"-0"}'),
        (Form.REAL, math.nan, b'{"real":"NaN"}'),
        (Form.REAL, -math.inf, b'{"real":"-Infinity"}'),
        (Form.ANY, 1.0, b'{"real":"1"}'),
        (Form.ANY_REAL, 1, b'{"integer":"1"}'),
        (Form.BLOB, b"\x00\x01\x02", b'{"blob":"AAEC"}'),
        (Form.TEXT, UndecodableText(b"\xff"), b'{"text_bytes":"/w=="}'),
    ],
)
def test_values_without_a_json_type_are_objects_that_name_it(form: Form, value: Value, written: bytes) -> None:
    assert canonical(write_value(form, value)) == written


@pytest.mark.parametrize(
    ("form", "written"),
    [
        (Form.INTEGER, 1.5),
        (Form.INTEGER, "1"),
        (Form.INTEGER, True),
        (Form.INTEGER, 2**53),
        (Form.INTEGER, {"integer": "1"}),
        (Form.INTEGER, {"integer": "09007199254740993"}),
        (Form.INTEGER, {"real": "1"}),
        (Form.REAL, {"real": "1"}),
        (Form.REAL, {"real": "nan"}),
        (Form.REAL, {"real": "0x1"}),
        (Form.REAL, "1"),
        (Form.TEXT, 1),
        (Form.TEXT, {"text_bytes": "YQ=="}),
        (Form.TEXT, {"blob": "/w=="}),
        (Form.BLOB, "AAEC"),
        (Form.BLOB, {"blob": "AAED="}),
        (Form.BLOB, {"blob": "AB=="}),
        (Form.BLOB, {"blob": "A A="}),
        (Form.BLOB, {"blob": "AA==", "more": "AA=="}),
        (Form.BOOLEAN, 1),
        (Form.ANY, 1.5),
        (Form.ANY, True),
        (Form.ANY, {"integer": "1"}),
        (Form.ANY, []),
        (Form.ANY, {}),
        (Form.ANY_REAL, {"real": "1.5"}),
    ],
)
def test_each_value_has_exactly_one_spelling(form: Form, written: Json) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_value(form, written)


def test_the_schema_of_records_is_a_json_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(orjson.loads(record_schema()))
    jsonschema.Draft202012Validator.check_schema(row_schema([Column(name=form, type="", form=form) for form in Form]))
