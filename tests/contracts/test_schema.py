"""Schemas as users write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elspeth.contracts.schema import SUPPORTED_TYPES, FieldDefinition, SchemaConfig, parse_type

TYPES = [*sorted(SUPPORTED_TYPES - {"decimal(N)"}), "decimal(0)", "decimal(18)"]
FIELDS = st.lists(
    st.builds(
        FieldDefinition,
        name=st.from_regex(r"[a-z_]{1,8}", fullmatch=True),
        field_type=st.sampled_from(TYPES),
        required=st.booleans(),
    ),
    min_size=1,
    unique_by=lambda field: field.name,
).map(tuple)
NAME_AND_TYPE = (
    "expected 'name: type' with the type one of any, bool, date, datetime, decimal(N), duration, float, int, str"
)
DYNAMIC = SchemaConfig(mode=None, fields=None, is_dynamic=True)
SCHEMAS = st.just(DYNAMIC) | st.builds(
    SchemaConfig, mode=st.sampled_from(["strict", "free"]), fields=FIELDS, is_dynamic=st.just(False)
)


@given(SCHEMAS)
def test_a_schema_round_trips_through_its_dictionary(schema: SchemaConfig) -> None:
    assert SchemaConfig.from_dict(schema.to_dict()) == schema


@pytest.mark.parametrize(
    "config", [{"fields": "dynamic"}, {"mode": "observed"}, {"mode": "dynamic", "fields": "dynamic"}]
)
def test_dynamic_schemas_accept_any_field(config: dict[str, object]) -> None:
    assert SchemaConfig.from_dict(config) == DYNAMIC
    assert DYNAMIC.allows_extra_fields


@pytest.mark.parametrize(
    ("mode", "expected"), [("free", "free"), ("flexible", "free"), ("strict", "strict"), ("fixed", "strict")]
)
def test_both_vocabularies_of_modes_are_understood(mode: str, expected: str) -> None:
    schema = SchemaConfig.from_dict({"mode": mode, "fields": ["id: int", "note: str?"]})
    assert schema.mode == expected
    assert schema.allows_extra_fields is (expected == "free")
    assert schema.fields == (FieldDefinition("id", "int"), FieldDefinition("note", "str", required=False))


def test_an_unquoted_field_in_yaml_is_understood() -> None:
    schema = SchemaConfig.from_dict({"mode": "free", "fields": [{"id": "int?"}]})
    assert schema.fields == (FieldDefinition("id", "int", required=False),)


@pytest.mark.parametrize("text", [" id: int? ", "id:int?", "id:   int?\t"])
def test_space_around_a_field_and_its_type_does_not_count(text: str) -> None:
    assert FieldDefinition.parse(text) == FieldDefinition("id", "int", required=False)


@pytest.mark.parametrize("text", ["id : int", "id: int ?", "my id: int", "id: int\nx", ": int", "id"])
def test_another_form_of_a_field_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^field .+ is not understood: expected 'name: type'"):
        FieldDefinition.parse(text)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({}, "mode is missing: expected 'free' or 'strict' beside a list of fields, or fields: dynamic"),
        (
            {"mode": "loose", "fields": ["id: int"]},
            "mode 'loose' is unknown: expected one of strict, fixed, free, flexible, dynamic, observed",
        ),
        ({"mode": "free"}, "mode 'free' needs a list of fields such as 'id: int', got None"),
        (
            {"mode": "dynamic", "fields": ["id: int"]},
            "mode 'dynamic' accepts any fields: expected no list of fields beside it",
        ),
        ({"mode": "free", "fields": ["id: int", "id: str"]}, "field 'id' is declared more than once"),
        ({"mode": "free", "fields": ["id: int", "x: str", "id: str"]}, "field 'id' is declared more than once"),
        (
            {"mode": "free", "fields": ["id: integer"]},
            f"field 'id: integer' is not understood: {NAME_AND_TYPE}",
        ),
        (
            {"mode": "free", "fields": ["paid: decimal"]},
            f"field 'paid: decimal' is not understood: {NAME_AND_TYPE} with N, the decimal places, from 0 to 18",
        ),
        (
            {"mode": "free", "fields": [7]},
            f"field 7 is not understood: {NAME_AND_TYPE}",
        ),
        ({"fields": "dynamic", "strict": True}, "unknown key 'strict': expected 'mode' and 'fields'"),
    ],
)
def test_a_malformed_schema_is_refused(config: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011  the whole message is compared
        SchemaConfig.from_dict(config)
    assert str(caught.value) == message


@pytest.mark.parametrize("text", TYPES)
def test_a_type_is_parsed_as_in_a_schema(text: str) -> None:
    assert parse_type(text) == text


@pytest.mark.parametrize("text", ["decimal", "decimal(19)", "decimal(-1)", "decimal(2)?", "text", "", "int\n"])
def test_an_unknown_type_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not known: expected one of any, bool, date, datetime, decimal"):
        parse_type(text)


def test_the_json_schema_of_rows_demands_what_the_schema_demands() -> None:
    fields = ["n: int", "note: str?", "paid: decimal(2)", "whole: decimal(0)?", "at: datetime", "more: any"]
    found = SchemaConfig.from_dict({"mode": "strict", "fields": fields}).json_schema()
    assert found == {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": {
            "n": {"type": "integer"},
            "note": {"type": ["string", "null"]},
            "paid": {"type": "string", "pattern": "^-?[0-9]+\\.[0-9]{2}$"},
            "whole": {"type": ["string", "null"], "pattern": "^-?[0-9]+$"},
            "at": {"type": "string", "format": "date-time"},
            "more": {},
        },
        "required": ["n", "paid", "at", "more"],
        "additionalProperties": False,
    }
    assert SchemaConfig.from_dict({"mode": "free", "fields": fields}).json_schema()["additionalProperties"] is True
    assert DYNAMIC.json_schema() == {"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object"}


def test_a_schema_of_any_rows_is_recorded_as_dynamic() -> None:
    assert DYNAMIC.to_dict() == {"fields": "dynamic"}
