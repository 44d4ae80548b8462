"""Patterns accept nothing that checking field by field refuses."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from itertools import product
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from elspeth.evidence.format.canonical import canonical, parse_canonical
from elspeth.evidence.format.errors import EvidenceError
from elspeth.evidence.verifier._line_patterns import TextBlock
from elspeth.evidence.verifier._record_schema import read_shapes
from elspeth.evidence.verifier._shapes import PatternBudget, Shape, ValueRule
from tests.evidence.bags import SCHEMA, records, to_lines

SHAPES = read_shapes(json.dumps(SCHEMA).encode(), "schema")
COLUMNS = {"run": ["run_id", "status"], "thing": ["row_id", "row_index"], "step": ["step_id"], "link": ["row", "salt"]}
COLUMNS |= {"node": ["node_id"], "operation": ["status", "salt"]}

texts = st.sampled_from(["run", "thing", "step", "open", "done", "completed", "a" * 64, "a" * 65, "0" * 64]) | st.text()
numbers = (
    st.sampled_from([0, -1, 2**53 - 1, 10**15, 1e-7, 1e-6, 0.0001, 0.1, 1e16, 1.5e300])
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
)
values = st.none() | st.booleans() | texts | numbers


@st.composite
def lines(draw: st.DrawFn) -> tuple[str, str]:
    """Draw a record type, and a line that nearly fits."""
    record = dict(draw(st.sampled_from(records())))
    kind = str(record["record_type"])
    for _ in range(draw(st.integers(0, 2))):
        record[draw(st.sampled_from([*record, "more", "salt"]))] = draw(values)
    line = canonical(record).decode()  # type: ignore[arg-type]
    for _ in range(draw(st.integers(0, 1))):
        at = draw(st.integers(0, len(line)))
        line = (
            line[:at]
            + draw(st.sampled_from(["", "0", "-", ".0", "e1", "\\n", '"', " ", "\u0007", "\\u0041"]))
            + line[at:]
        )
    return kind, line


def slowly(kind: str, line: str) -> Mapping[str, Any] | None:
    """Return the record of a line, if it is valid."""
    try:
        record = parse_canonical(line.encode(), "line")
    except (EvidenceError, UnicodeEncodeError):
        return None
    return record if any(shape.problem(record) is None for shape in SHAPES[kind]) else None


def as_text(value: object) -> str | None:
    return None if value is None else str(value)


@given(lines())
def test_lines_that_a_pattern_accepts_are_valid_and_keep_their_values(case: tuple[str, str]) -> None:
    kind, line = case
    columns = COLUMNS[kind]
    found = [
        values
        for shape in SHAPES[kind]
        for pattern in shape.line_patterns(columns, PatternBudget("schema"))
        for values in pattern.read_lines([line])
        if values
    ]
    record = slowly(kind, line)
    assert found == [] or record is not None
    assert all(list(each) == [as_text((record or {}).get(name)) for name in columns] for each in found)


@given(st.lists(lines(), min_size=1, max_size=6))
def test_a_block_has_the_values_of_its_lines(cases: list[tuple[str, str]]) -> None:
    kind, some = cases[0][0], [line for _, line in cases]
    for shape in SHAPES[kind]:
        for pattern in shape.line_patterns(COLUMNS[kind], PatternBudget("schema")):
            columns = pattern.read_block(TextBlock.of_texts(some))
            if columns is not None:
                assert list(zip(*columns, strict=True)) == [
                    values and tuple(values) for values in pattern.read_lines(some)
                ]


@given(lines(), st.integers(0, 3), st.integers(0, 3), st.sampled_from(["", "{", "x", " ", '"', "null"]))
def test_a_block_is_read_only_if_all_of_its_lines_are(case: tuple[str, str], size: int, at: int, junk: str) -> None:
    kind, line = case
    some = [line] * (size + 1)
    for shape in SHAPES[kind]:
        for pattern in shape.line_patterns(COLUMNS[kind], PatternBudget("schema")):
            is_right = pattern.read_lines([line]) != [None]
            assert (pattern.read_block(TextBlock.of_texts(some)) is not None) == is_right
            with_junk = [*some[:at], f"{junk}{line}", f"{line}{junk}", *some[at:]]
            found = pattern.read_block(TextBlock.of_texts(with_junk))
            assert (found is not None) == (is_right and not junk)


@given(st.floats(allow_nan=False, allow_infinity=False, min_value=0, max_value=2**53))
def test_a_float_is_accepted_only_in_its_canonical_form(number: float) -> None:
    line = b'{"n":%b,"record_type":"n"}'
    shape = number_shape()
    [pattern] = shape.line_patterns(["record_type"], PatternBudget("schema"))
    spellings = {repr(number), f"{number:.20f}", f"{number:.3f}", rfc8785.dumps(number).decode()}
    lines_of = {text: (line % text.encode()).decode() for text in spellings}
    accepted = [text for text, each in lines_of.items() if pattern.read_lines([each]) != [None]]
    assert all(rfc8785.dumps(float(text)).decode() == text for text in accepted)
    blocks = {text: TextBlock.of_texts([each, each]) for text, each in lines_of.items()}
    assert accepted == [text for text, block in blocks.items() if pattern.read_block(block) is not None]


def number_shape() -> Shape:
    properties = {"record_type": {"const": "n"}, "n": {"type": "number", "minimum": 0, "maximum": 2**53 - 1}}
    shape = {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}
    [found] = read_shapes(json.dumps({"oneOf": [shape]}).encode(), "schema")["n"]
    return found


def test_a_value_may_reach_its_bounds_but_not_exceed_them() -> None:
    number, text = ValueRule(type="integer", minimum=2, maximum=5), ValueRule(type="string", max_length=2)
    assert [each for each in range(9) if number.problem(each) is None] == [2, 3, 4, 5]
    assert [each for each in ("", "a", "ab", "abc") if text.problem(each) is None] == ["", "a", "ab"]
    assert (
        number.pattern(captured=True) is ValueRule(type="integer", minimum=0, maximum=5).pattern(captured=True) is None
    )
    short = ValueRule(type="string", regex=re.compile("[a-z]{3}"), regex_length=3, max_length=2)
    assert short.pattern(captured=True) is None
    assert replace(short, max_length=3).pattern(captured=True) == '"([a-z]{3})"'


def test_of_each_group_one_field_is_not_null() -> None:
    flag = ValueRule(type="boolean", nullable=True)
    groups = (("a", "b"), ("c", "d"))
    shape = Shape(rules=dict.fromkeys("abcd", flag), required=frozenset("abcd"), exactly_one=groups)
    patterns = shape.line_patterns("", PatternBudget("schema"))
    accepted = []
    for some in product([None, True], repeat=4):
        record = dict(zip("abcd", some, strict=True))
        found = any(pattern.read_lines([canonical(record).decode()]) != [None] for pattern in patterns)
        assert found == (shape.problem(record) is None)
        accepted += ["".join(name for name in "abcd" if record[name])] * found
    assert sorted(accepted) == ["ac", "ad", "bc", "bd"]


def test_a_choice_must_have_its_type() -> None:
    rule = ValueRule(choices=(1, "a", None))
    assert [each for each in (1, "a", None) if rule.problem(each) is not None] == []
    assert [each for each in (True, 1.0, "1", "b") if rule.problem(each) is None] == []


@pytest.mark.parametrize(
    ("rule", "accepted"),
    [
        (ValueRule(type="string", choices=("a", "bc")), ["a", "bc"]),
        (ValueRule(type="string", choices=("a", "bc"), nullable=True), ["a", "bc", None]),
        (ValueRule(type="string", choices=("b.?c", "."), nullable=True), [None]),
        (ValueRule(type="string", choices=("b", "bc")), ["b", "bc"]),
        (ValueRule(type="string", choices=("a",), max_length=2), ["a"]),
        (ValueRule(type="string", choices=("a", "bc"), max_length=1), None),
        (ValueRule(type="integer", choices=(0, 1), minimum=0), None),
        (ValueRule(type="number", choices=(0, 1), minimum=0), None),
        (ValueRule(type="boolean", choices=(True,)), None),
    ],
    ids=repr,
)
@pytest.mark.parametrize("columns", [[], ["x"]])
def test_a_pattern_knows_the_choices_of_a_rule_that_has_a_type(
    rule: ValueRule, accepted: list[object] | None, columns: list[str]
) -> None:
    shape = Shape(rules={"x": rule}, required=frozenset("x"), exactly_one=())
    patterns = shape.line_patterns(columns, PatternBudget("schema"))
    some = [canonical({"x": value}).decode() for value in ("a", "b", "bc", 0, 1, 2, True, False, None)]
    found = [line for pattern in patterns for line in some if pattern.read_lines([line]) != [None]]
    assert (found if patterns else None) == (accepted and [canonical({"x": each}).decode() for each in accepted])  # type: ignore[dict-item]


def test_a_schema_may_use_its_whole_budget() -> None:
    budget = PatternBudget("schema", 5)
    budget.take(3)
    budget.take(2)
    with pytest.raises(
        EvidenceError, match=r"^schema: expected shapes with patterns of at most 5 characters, got more"
    ):
        budget.take(1)


def test_ordinary_lines_are_recognised() -> None:
    """Parsing them would be right, but slow."""
    recognised = [
        any(
            pattern.read_lines([line.decode()]) != [None]
            for shape in SHAPES[str(record["record_type"])]
            for pattern in shape.line_patterns([], PatternBudget("schema"))
        )
        for record, line in zip(records(), to_lines(records()), strict=True)
    ]
    # The lines with the quoted id, and with the seconds that need an exponent, get the general check.
    assert [number for number, each in enumerate(recognised) if not each] == [2, 5, 6, 10]


BOUNDS = (None, -(10**15) + 1, -5, -1, 0, 1, 5, 10**15 - 1, 2**53 - 1)
AT_BOUNDS = [-(10**15), -6, -5, -2, -1, 0, 1, 2, 5, 6, 10**15 - 1, 10**15, 2**53 - 1, 0.5, -0.5, 5.5, 999999999999999.5]


@pytest.mark.parametrize("kind", ["integer", "number"])
@pytest.mark.parametrize("nullable", [False, True])
def test_a_pattern_accepts_no_number_beyond_the_bounds(kind: str, *, nullable: bool) -> None:
    some = [canonical({"x": value}).decode() for value in [*AT_BOUNDS, None]]
    some += ['{"x":-0}', '{"x":00}', '{"x":1.0}', '{"x":1.50}', '{"x":0.10}']
    for minimum, maximum, columns, required in product(BOUNDS, BOUNDS, ([], ["x"]), ("", "x")):
        rule = ValueRule(type=kind, minimum=minimum, maximum=maximum, nullable=nullable)
        shape = Shape(rules={"x": rule, "y": rule}, required=frozenset(required + "y"), exactly_one=())
        lines_of = [f'{line[:-1]},"y":0}}' for line in some]
        for pattern in shape.line_patterns(columns, PatternBudget("schema")):
            accepted = [
                line for line, found in zip(lines_of, pattern.read_lines(lines_of), strict=True) if found is not None
            ]
            for line in accepted:
                record = parse_canonical(line.encode(), "line")
                assert shape.problem(record) is None
                assert pattern.read_block(TextBlock.of_texts([line, line])) is not None
            for line in set(lines_of) - set(accepted):
                assert pattern.read_block(TextBlock.of_texts([line, line])) is None


@pytest.mark.parametrize("name", ["x", "y", "z"])
def test_each_of_several_numbers_must_be_canonical(name: str) -> None:
    rule = ValueRule(type="number", minimum=0, maximum=2**53 - 1)
    shape = Shape(rules=dict.fromkeys("xyz", rule), required=frozenset("xy"), exactly_one=())
    [pattern] = shape.line_patterns([], PatternBudget("schema"))
    right = '{"x":0.5,"y":0.5,"z":0.5}'
    wrong = right.replace(f'"{name}":0.5', f'"{name}":0.50')
    assert [found is not None for found in pattern.read_lines([right, wrong])] == [True, False]
    assert pattern.read_block(TextBlock.of_texts([right, right])) is not None
    assert pattern.read_block(TextBlock.of_texts([right, wrong, right])) is None


def test_a_pattern_must_match_the_whole_text() -> None:
    rule = ValueRule(type="string", regex=re.compile("[a-z]{3}"), regex_length=3)
    assert [each for each in ("abc", "ab", "abcd", "abc\n", " abc") if rule.problem(each) is None] == ["abc"]


def test_constants_are_compared_with_their_types() -> None:
    shape = Shape(
        rules={"n": ValueRule(choices=(1,)), "m": ValueRule(choices=(None,))},
        required=frozenset("nm"),
        exactly_one=(),
    )
    some = [{"n": 1, "m": None}, {"n": True, "m": None}, {"n": 1.0, "m": None}, {"n": 1}, {"m": None}]
    assert [each for each in some if shape.fits_constants(each)] == [some[0]]  # type: ignore[arg-type]


@pytest.mark.parametrize("nullable", [False, True])
def test_texts_with_escapes_are_read_as_they_are_meant(*, nullable: bool) -> None:
    shape = Shape(
        rules={"a": ValueRule(type="string", nullable=nullable), "b": ValueRule(type="string")},
        required=frozenset("ab"),
        exactly_one=(),
    )
    [pattern] = shape.line_patterns(["b", "a"], PatternBudget("schema"))
    some = [{"a": "x\n", "b": "y"}, {"a": "x", "b": 'y"'}, {"a": "\\", "b": "\u0001"}, {"a": "", "b": ""}]
    lines_of = [canonical(each).decode() for each in some]
    expected = [(each["b"], each["a"]) for each in some]
    assert [tuple(each or ()) for each in pattern.read_lines(lines_of)] == expected
    columns = pattern.read_block(TextBlock.of_texts(lines_of))
    assert columns is not None
    assert list(zip(*columns, strict=True)) == expected
