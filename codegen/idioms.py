"""The parts of LinkML that the schema may use.

Codegen reads only some of LinkML. It refuses the rest here, so that everything in the schema has an effect.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from codegen import shapes
from codegen.errors import Problem, Where, suggestion
from codegen.files import SchemaFile
from codegen.shapes import Complaint
from codegen.vocabulary import Target, check_annotations

__all__ = ["faults_of_file"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kind:
    """A kind of element: its keys, members and annotations."""

    name: str
    required: Mapping[str, Complaint] = field(default_factory=dict)
    optional: Mapping[str, Complaint] = field(default_factory=dict)
    members: Mapping[str, _Kind] = field(default_factory=dict)
    target: Target | None = None


_DESCRIBED = {"description": shapes.text}
_BOUNDS = {"pattern": shapes.text, "minimum_value": shapes.integer, "maximum_value": shapes.integer}
_PRESENT = shapes.single(shapes.mapping({"value_presence": shapes.one_of("PRESENT")}))
_EQUAL = shapes.single(shapes.mapping({"equals_string": shapes.text}))
_EXACTLY_ONE = {"title": shapes.text, "exactly_one_of": shapes.list_of(shapes.mapping({"slot_conditions": _PRESENT}))}

_TYPE = _Kind(
    name="a type",
    required={**_DESCRIBED, "base": shapes.text, "uri": shapes.uri},
    optional={"repr": shapes.text, **_BOUNDS},
    target=Target.TYPE,
)
_SLOT = _Kind(
    name="a slot",
    required={**_DESCRIBED, "range": shapes.text},
    optional={"required": shapes.boolean, "slot_uri": shapes.uri, **_BOUNDS},
    target=Target.SLOT,
)
_VALUE = _Kind(name="an enum value", required=_DESCRIBED, target=Target.ENUM_VALUE)
_ENUM = _Kind(
    name="an enum",
    required={**_DESCRIBED, "permissible_values": shapes.named},
    members={"permissible_values": _VALUE},
)
_TABLE = _Kind(
    name="a table",
    required={**_DESCRIBED, "range": shapes.text, "singular_name": shapes.text},
    optional={"multivalued": shapes.flag, "inlined_as_list": shapes.flag},
)
_CONTAINER = _Kind(
    name="the tree_root class",
    required={"tree_root": shapes.flag, **_DESCRIBED, "attributes": shapes.named},
    members={"attributes": _TABLE},
)
_CLASS = _Kind(
    name="a class",
    required={**_DESCRIBED, "slots": shapes.names},
    optional={
        "abstract": shapes.flag,
        "broad_mappings": shapes.list_of(shapes.uri),
        "slot_usage": shapes.named,
        "all_of": shapes.list_of(shapes.mapping(_EXACTLY_ONE)),
        "unique_keys": shapes.named,
    },
    members={
        "slot_usage": _Kind(name="a slot_usage", optional={**_SLOT.required, **_SLOT.optional}, target=Target.SLOT),
        "unique_keys": _Kind(
            name="a unique key",
            required={"unique_key_slots": shapes.names},
            optional={"consider_nulls_inequal": shapes.flag},
        ),
    },
    target=Target.CLASS,
)
_VARIANT = _Kind(
    name="a variant",
    required={
        **_DESCRIBED,
        "is_a": shapes.text,
        "all_of": shapes.list_of(shapes.mapping({"slot_conditions": _EQUAL})),
    },
    optional={"slot_usage": shapes.named},
    members={
        "slot_usage": _Kind(
            name="a slot_usage of a variant",
            optional={"required": shapes.flag, "value_presence": shapes.one_of("ABSENT")},
        )
    },
)
_SCHEMA = _Kind(
    name="a schema file",
    required={"id": shapes.uri, "name": shapes.text, **_DESCRIBED},
    optional={
        "title": shapes.text,
        "version": shapes.digits,
        "prefixes": shapes.each(shapes.uri),
        "default_prefix": shapes.text,
        "default_range": shapes.text,
        "imports": shapes.names,
        **dict.fromkeys(("types", "slots", "enums", "classes"), shapes.named),
    },
    members={"types": _TYPE, "slots": _SLOT, "enums": _ENUM, "classes": _CLASS},
)


def faults_of_file(file: SchemaFile) -> Iterator[Problem]:
    """Yield each unknown or malformed part of the file."""
    return _faults(_SCHEMA, file.content, Where(file=file.name))


def _faults(kind: _Kind, body: object, where: Where) -> Iterator[Problem]:
    if body is None:
        body = {}
    if not isinstance(body, dict):
        yield Problem(where=where, message=f"expected a mapping, got {body!r}")
        return
    if kind is _CLASS:
        kind = _CONTAINER if "tree_root" in body else _VARIANT if "is_a" in body else _CLASS
    known = {**kind.required, **kind.optional}
    messages = [f"has no {key}" for key in kind.required if key not in body]
    for key, value in body.items():
        if key == "annotations" and kind.target is not None:
            messages += check_annotations(value, kind.target)
        elif key not in known:
            others = ["annotations"] if kind.target is not None else []
            messages.append(f"unknown key {key!r} on {kind.name}{suggestion(str(key), [*known, *others])}")
        elif (complaint := known[key](value)) is not None:
            messages.append(f"{key}: {complaint}")
    yield from (Problem(where=where, message=message) for message in messages)
    for key, member_kind in kind.members.items():
        members = body.get(key)
        for name, member in members.items() if isinstance(members, dict) else ():
            yield from _faults(member_kind, member, _inside(where, str(name)))


def _inside(where: Where, name: str) -> Where:
    if where.element is None:
        return Where(file=where.file, element=name)
    return Where(file=where.file, element=where.element, member=name)
