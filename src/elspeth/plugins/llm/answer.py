"""What a chat completion says: checked when it arrives, and taken apart when it is used."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import NoReturn

from elspeth.contracts.display import kind_of
from elspeth.contracts.failures import RecordableError
from elspeth.contracts.plugins import CallError, JsonObject, Row
from elspeth.contracts.schema import FieldDefinition, FieldType, SchemaConfig
from elspeth.plugins.coercion import RowValidator, SchemaViolationError

__all__ = ["AnswerTextError", "content_of", "fields_of", "read_body", "response_format"]

_MAX_DEPTH = 64  # of arrays and objects; canonical JSON, with which answers are recorded, is made recursively

_JSON_TYPES: Mapping[FieldType, str] = {"str": "string", "int": "integer", "float": "number", "bool": "boolean"}


class AnswerTextError(RecordableError, ValueError):
    """What the model says is not what it was asked for."""


def read_body(content: bytes) -> JsonObject:
    """The body of a successful response.

    CallError, never to be repeated, if it is no chat completion: the server believes that it answered, so that asking
    again would most likely bring the same, at the same price.
    """
    try:
        body = _parsed(content.decode())
    except UnicodeDecodeError as error:
        raise _unusable(f"the answer is not UTF-8: {error.reason} at byte {error.start}") from error
    except ValueError as error:
        raise _unusable(f"the answer is not JSON: {error}") from error
    if not isinstance(body, dict):
        raise _unusable(f"the answer: expected a JSON object, got {kind_of(body)}")
    if _is_deeper(body, _MAX_DEPTH):
        raise _unusable(f"the answer is nested deeper than {_MAX_DEPTH} levels")
    match body:
        case {"choices": [{"message": {"content": str()}}, *_]}:
            return body
        case {"choices": [{"message": {"refusal": str(refusal)}}, *_]}:
            raise _unusable(f"the model refused, with {kind_of(refusal)}")
        case _:
            raise _unusable("the answer has no text at choices[0].message.content")


def content_of(body: JsonObject) -> str:
    """The text of a body that `read_body` returned."""
    match body:
        case {"choices": [{"message": {"content": str(content)}}, *_]}:
            return content
        case _:
            raise ValueError("the answer has no text at choices[0].message.content")


def response_format(schema: SchemaConfig) -> JsonObject:
    """What asks a model for an object with the fields of a schema.

    Servers that are strict want all properties required, and know no properties without a type.
    """
    fields = schema.fields or ()
    properties = {field.name: _json_schema(field) for field in fields}
    return {
        "type": "json_schema",
        "json_schema": {
            "name": "response",
            "strict": all(field.field_type != "any" for field in fields),
            "schema": {
                "type": "object",
                "properties": properties,
                "required": list(properties),
                "additionalProperties": False,
            },
        },
    }


def fields_of(content: str, validator: RowValidator) -> Row:
    """The object that the text is; AnswerTextError if it is none, or not one that satisfies the schema."""
    try:
        value = _parsed(content)
    except ValueError as error:
        raise AnswerTextError(f"the model's text is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise AnswerTextError(f"the model's text: expected a JSON object, got {kind_of(value)}")
    if _is_deeper(value, _MAX_DEPTH):
        raise AnswerTextError(f"the model's text is nested deeper than {_MAX_DEPTH} levels")
    try:
        return validator.validate(value)
    except SchemaViolationError as error:
        raise AnswerTextError(f"the model's text does not satisfy response_schema: {error}") from error


def _parsed(text: str) -> object:
    """The value of a JSON text; ValueError for anything else, what Python takes beyond the standard included."""
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"it holds {name}")


def _is_deeper(value: object, levels: int) -> bool:
    """Whether arrays and objects are nested deeper than so many levels."""
    layer = [value]
    for _ in range(levels + 1):
        layer = [
            item
            for each in layer
            if isinstance(each, dict | list)
            for item in (each.values() if isinstance(each, dict) else each)
        ]
    return bool(layer)


def _json_schema(field: FieldDefinition) -> JsonObject:
    if field.field_type == "any":
        return {}
    name = _JSON_TYPES[field.field_type]
    return {"type": name if field.required else [name, "null"]}


def _unusable(problem: str) -> CallError:
    return CallError(problem, is_retryable=False)
