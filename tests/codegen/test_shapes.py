"""Single values of a schema, and what they should be."""

from __future__ import annotations

import pytest

from codegen import shapes
from codegen.shapes import Complaint
from codegen.vocabulary import TERMS

PAIR = shapes.mapping({"name": shapes.text}, {"size": shapes.positive})
STAGES = "expected 'immutable', 'transient' or a mapping of status, while_open, afterwards: "


@pytest.mark.parametrize(
    ("complaint", "value", "said"),
    [
        (shapes.text, "x", None),
        (shapes.text, " ", "expected a text, got ' '"),
        (shapes.text, True, "expected a text, got True"),
        (shapes.uri, "prov:Entity", None),
        (shapes.uri, "https://w3id.org/x#y", None),
        (shapes.uri, "prov:An Entity", "expected a URI or prefix:name, got 'prov:An Entity'"),
        (shapes.uri, "Entity", "expected a URI or prefix:name, got 'Entity'"),
        (shapes.uri, ":x", "expected a URI or prefix:name, got ':x'"),
        (shapes.boolean, False, None),
        (shapes.boolean, 0, "expected true or false, got 0"),
        (shapes.flag, True, None),
        (shapes.flag, False, "expected true, got False"),
        (shapes.flag, "yes", "expected true, got 'yes'"),
        (shapes.flag, 1, "expected true, got 1"),
        (shapes.integer, 0, None),
        (shapes.integer, -3, None),
        (shapes.integer, True, "expected a whole number, got True"),
        (shapes.integer, 1.0, "expected a whole number, got 1.0"),
        (shapes.positive, 1, None),
        (shapes.positive, 0, "expected a whole number above 0, got 0"),
        (shapes.positive, True, "expected a whole number above 0, got True"),
        (shapes.digits, "2", None),
        (shapes.digits, "0", "expected a whole number above 0 in quotes, got '0'"),
        (shapes.digits, 2, "expected a whole number above 0 in quotes, got 2"),
        (shapes.names, ["a", "b"], None),
        (shapes.names, [], "expected a list of names, got []"),
        (shapes.names, "a", "expected a list of names, got 'a'"),
        (shapes.names, ["a", True], "expected a list of names, got ['a', True]"),
        (shapes.names, ["b", "a", "b", "a"], "expected each name once, got a, b again"),
        (shapes.one_of("x", "y"), "y", None),
        (shapes.one_of("x", "y"), "z", "expected x or y, got 'z'"),
        (PAIR, {"name": "x"}, None),
        (PAIR, {"name": "x", "size": 1}, None),
        (PAIR, "x", "expected a mapping with name, size, got 'x'"),
        (PAIR, {"size": 1}, "expected the key 'name' in {'size': 1}"),
        (PAIR, {"name": "x", "siez": 1}, "unknown key 'siez', expected name, size"),
        (PAIR, {"name": "x", "size": 0}, "size: expected a whole number above 0, got 0"),
        (shapes.named, {"x": None}, None),
        (shapes.named, {}, "expected a mapping by name, got {}"),
        (shapes.named, {"x": 1, True: 2}, "expected a text as name, got True: YAML may need quotes here"),
        (shapes.each(PAIR), {"x": {"name": "y"}}, None),
        (shapes.each(PAIR), {"x": {}}, "x: expected the key 'name' in {}"),
        (shapes.each(PAIR), [], "expected a mapping by name, got []"),
        (shapes.single(shapes.text), {"x": "y"}, None),
        (shapes.single(shapes.text), {"x": "y", "z": "y"}, "expected one name, got x, z"),
        (shapes.single(shapes.text), {"x": 1}, "x: expected a text, got 1"),
        (shapes.list_of(shapes.text), ["x"], None),
        (shapes.list_of(shapes.text), [], "expected a list, got []"),
        (shapes.list_of(shapes.text), "x", "expected a list, got 'x'"),
        (shapes.list_of(shapes.text), ["x", 1], "[1]: expected a text, got 1"),
        (TERMS["lifecycle"].complaint, "immutable", None),
        (TERMS["lifecycle"].complaint, {"status": "s", "while_open": ["s"]}, None),
        (TERMS["lifecycle"].complaint, {"afterwards": ["a"]}, None),
        (TERMS["lifecycle"].complaint, {"status": "s"}, "status and while_open go together"),
        (TERMS["lifecycle"].complaint, {"while_open": ["s"]}, "status and while_open go together"),
        (TERMS["lifecycle"].complaint, {}, f"{STAGES}got nothing"),
        (TERMS["lifecycle"].complaint, {"afterwards": []}, f"{STAGES}afterwards: expected a list of names, got []"),
    ],
)
def test_a_value_is_accepted_or_described_with_what_was_expected(
    complaint: Complaint, value: object, said: str | None
) -> None:
    assert complaint(value) == said
