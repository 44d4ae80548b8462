"""Only canonical JSON is accepted, however quickly it is checked."""

from __future__ import annotations

import json
from collections.abc import Callable

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from elspeth.evidence.format.canonical import (
    Json,
    Members,
    canonical,
    decode_base64,
    describe_difference,
    parse_canonical,
    parse_json,
    parse_object,
    parse_unambiguous,
    shown_json,
)
from elspeth.evidence.format.errors import EvidenceError

INTEGERS = st.integers(-(2**53) + 1, 2**53 - 1)
NAMES = st.text(max_size=3)
VALUES = st.recursive(
    st.none() | st.booleans() | INTEGERS | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(NAMES, values, max_size=3),
    max_leaves=6,
)

SPELLINGS: list[Callable[[Json], bytes]] = [
    canonical,
    orjson.dumps,
    lambda value: orjson.dumps(value, option=orjson.OPT_SORT_KEYS),
    lambda value: json.dumps(value, sort_keys=True, separators=(",", ":")).encode(),
    lambda value: json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode(),
]


def nested(depth: int) -> dict[str, Json]:
    value: dict[str, Json] = {"b": 1, "a": 1e16}
    for _ in range(depth):
        value = {"a": value}
    return value


def canonical_again(data: bytes) -> bytes | None:
    """Return the canonical JSON of a text, if any."""
    try:
        return canonical(orjson.loads(data))
    except ValueError:
        return None


@given(st.dictionaries(NAMES, VALUES, max_size=4))
@example({"a": 1e16, "b": 1e-5, "c": -0.0, "d": 1.0, "e": 0.0001, "f": 9999999999999998.0})
@example({"\ue000": 1, "\U00010000": 2})
@example({"a": {"\ue000": 1, "\U00010000": 2}})
@example(nested(20))
def test_only_the_canonical_spelling_is_accepted(value: dict[str, Json]) -> None:
    for spell in SPELLINGS:
        data = spell(value)
        if data == canonical_again(data):
            assert parse_canonical(data, "line 1") == value
        else:
            with pytest.raises(EvidenceError, match=r"line 1: (is not|has no) canonical JSON"):
                parse_canonical(data, "line 1")


@pytest.mark.parametrize("data", [b'{"a":9007199254740992}', b'{"a":[{"b":-9007199254740992}]}'])
def test_an_integer_that_not_every_reader_has_exactly_is_refused(data: bytes) -> None:
    with pytest.raises(EvidenceError, match="line 1: has no canonical JSON"):
        parse_canonical(data, "line 1")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"e": 1e16, "d": 1.0, "c": 1e-7, "b": -0.0}, b'{"b":0,"c":1e-7,"d":1,"e":10000000000000000}'),
        ({"\ue000": 1, "\U00010000": 2, "\r": 3}, '{"\\r":3,"\U00010000":2,"\ue000":1}'.encode()),
        ([1.5, "\u20ac\x0f/", None, True], '[1.5,"\u20ac\\u000f/",null,true]'.encode()),
    ],
)
def test_values_are_written_as_rfc_8785_says(value: Json, expected: bytes) -> None:
    assert canonical(value) == expected


def problem_of(call: Callable[[], object]) -> str:
    with pytest.raises(EvidenceError) as caught:
        call()
    return str(caught.value)


@pytest.mark.parametrize(
    ("parse", "data", "problem"),
    [
        (parse_object, b"[1]", "place: expected a JSON object, got '[1]'"),
        (parse_object, b"null", "place: expected a JSON object, got 'null'"),
        (parse_canonical, b"[]", "place: expected a JSON object, got '[]'"),
        (parse_unambiguous, b"[]", "place: expected a JSON object, got '[]'"),
        (
            parse_unambiguous,
            b'{"a":1,"b":2,"b":3}',
            "place: expected JSON without names that occur twice: 'b' occurs twice",
        ),
        (
            parse_unambiguous,
            b'{"a":{"c":1,"b":2,"c":3}}',
            "place: expected JSON without names that occur twice: 'c' occurs twice",
        ),
        *(
            (
                parse_unambiguous,
                b'{"a":%b}' % word,
                f"place: expected JSON without names that occur twice: {word.decode()} is not a number",
            )
            for word in (b"NaN", b"Infinity", b"-Infinity")
        ),
        (
            parse_canonical,
            b'{"a":1, "b":2}',
            """place: is not canonical JSON: expected '"b":2}' at byte 8, got ' "b":2}'""",
        ),
    ],
)
def test_text_that_is_not_the_json_expected_is_refused(
    parse: Callable[[bytes, str], object], data: bytes, problem: str
) -> None:
    assert problem_of(lambda: parse(data, "place")) == problem


@pytest.mark.parametrize(
    ("parse", "data", "problem"),
    [
        (parse_json, b"{", "expected JSON, got '{': "),
        (parse_json, b"\xff", "expected JSON, got '\ufffd': "),
        (parse_canonical, b"{", "expected JSON, got '{': "),
        (parse_canonical, b'{"a":%b}' % (b"[" * 1000 + b"]" * 1000), "has no canonical JSON: "),
        (parse_unambiguous, b"\xff", "expected JSON without names that occur twice: "),
        (parse_unambiguous, b'{"a":' + b"[" * 200_000, "expected JSON without names that occur twice: "),
    ],
    ids=["end", "bytes", "canonical end", "deep canonical", "unambiguous bytes", "deep unambiguous"],
)
def test_text_that_is_not_json_is_refused_with_the_reason(
    parse: Callable[[bytes, str], object], data: bytes, problem: str
) -> None:
    found = problem_of(lambda: parse(data, "place"))
    assert found.startswith(f"place: {problem}")
    assert len(found) > len(f"place: {problem}")


@pytest.mark.parametrize(
    ("expected", "got", "described"),
    [
        (b"abc", b"abd", "expected 'c' at byte 3, got 'd'"),
        (b"abc", b"ab", "expected 'c' at byte 3, got ''"),
        (b"ab", b"abc", "expected '' at byte 3, got 'c'"),
        (b"x" + b"a" * 31, b"y" + b"b" * 30, f"expected 'x{'a' * 29}'... at byte 1, got 'y{'b' * 29}'..."),
        (b"a" * 30, b"b" * 30, f"expected '{'a' * 30}' at byte 1, got '{'b' * 30}'"),
    ],
)
def test_the_first_difference_of_two_lines_is_described(expected: bytes, got: bytes, described: str) -> None:
    assert describe_difference(expected, got) == described


def test_a_value_in_a_message_is_printable_and_not_long() -> None:
    assert shown_json({"a": "x\u202ey\n"}) == '{"a":"x\\u202ey\\n"}'
    assert shown_json("x" * 198) == f'"{"x" * 198}"'
    assert shown_json("x" * 199) == f'"{"x" * 199}... (201 characters)'


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("?", "place: expected base64, got '?'"),
        ("AA", "place: expected base64, got 'AA'"),
        ("AA==\n", "place: expected base64, got 'AA==\\n'"),
        ("\u00e4", "place: expected base64, got '\u00e4'"),
        ("AB==", "place: expected base64 without spare bits, got 'AB=='"),
        ("-_8=", "place: expected base64, got '-_8='"),
    ],
)
def test_only_one_encoding_of_bytes_is_decoded(text: str, problem: str) -> None:
    assert problem_of(lambda: decode_base64(text, "place")) == problem
    assert decode_base64("+/8=", "place") == b"\xfb\xff"


SHA = "0f" * 32
EVERY: list[Json] = [None, True, False, 0, 1, -1, 1.5, "", "text", SHA, SHA.upper(), SHA + "0", [], ["a"], ["a", 1]]
EVERY += [[SHA], [SHA, "a"], [{}], [{}, 1], {}, {"a": 1}, {"a": 0}, {"a": True}, {"a": 1, "b": "x"}]
TAKEN: dict[str, tuple[str, list[Json]]] = {
    "text": ("text", ["", "text", SHA, SHA.upper(), SHA + "0"]),
    "sha256": ("a SHA-256 in hexadecimal", [SHA]),
    "number": ("a whole number", [0, 1, -1]),
    "boolean": ("true or false", [True, False]),
    "sequence": ("an array", [[], ["a"], ["a", 1], [SHA], [SHA, "a"], [{}], [{}, 1]]),
    "texts": ("an array of texts", [[], ["a"], [SHA], [SHA, "a"]]),
    "sha256s": ("an array of SHA-256 in hexadecimal", [[], [SHA]]),
    "objects": ("an array of objects", [[], [{}]]),
    "optional_text": ("text or null", [None, "", "text", SHA, SHA.upper(), SHA + "0"]),
    "optional_sha256": ("64 hexadecimal digits or null", [None, SHA]),
    "optional_number": ("a whole number or null", [None, 0, 1, -1]),
    "optional_object": ("an object or null", [None, {}, {"a": 1}, {"a": 0}, {"a": True}, {"a": 1, "b": "x"}]),
    "members": ("an object", [{}, {"a": 1}, {"a": 0}, {"a": True}, {"a": 1, "b": "x"}]),
    "counts": ("an object of counts of at least one", [{}, {"a": 1}]),
}
"""What each method expects, and takes of these values."""


@pytest.mark.parametrize("method", TAKEN)
def test_a_member_of_another_type_is_refused(method: str) -> None:
    _, taken = TAKEN[method]
    spelled = [json.dumps(value) for value in taken]
    for value in EVERY:
        members = Members({"a": value}, "place")
        if json.dumps(value) in spelled:
            found = getattr(members, method)("a")
            if method not in {"objects", "members"}:
                assert found == (tuple(value) if isinstance(found, tuple) and isinstance(value, list) else value)
            members.close()
        else:
            expected = _expected(method, value)
            is_tuple = method == "sha256s" and isinstance(value, list) and expected == TAKEN[method][0]
            got = repr(tuple(value)) if is_tuple else repr(value)  # type: ignore[arg-type]
            assert problem_of(lambda: getattr(members, method)("a")) == f"place: a: expected {expected}, got {got}"  # noqa: B023


def _expected(method: str, value: Json) -> str:
    """Return what a method of a narrower type expects first."""
    if method == "sha256" and not isinstance(value, str):
        return "text"
    if method == "optional_sha256" and not isinstance(value, str):
        return "text or null"
    if method in {"texts", "sha256s", "objects"} and not isinstance(value, list):
        return "an array"
    if method == "sha256s" and not all(isinstance(each, str) for each in value):  # type: ignore[union-attr]
        return "an array of texts"
    return TAKEN[method][0]


@pytest.mark.parametrize("method", TAKEN)
def test_a_member_is_taken_once(method: str) -> None:
    document = {"a": TAKEN[method][1][-1], "b": None}
    members = Members(document, "place")
    assert members.has("a")
    getattr(members, method)("a")
    assert not members.has("a")
    assert problem_of(lambda: getattr(members, method)("a")) == "place: expected a member 'a', got none"
    assert problem_of(members.close) == "place: expected no further member, got 'b'"
    members.skip("b")
    members.skip("never there")
    members.close()
    assert document.keys() == {"a", "b"}


def test_null_is_a_member() -> None:
    members = Members({"a": None}, "place")
    assert members.has("a")
    assert members.optional_text("a") is None


@pytest.mark.parametrize(("expected", "got"), [(1, True), (1, 2), ("1", 1), (0, False), (1, None)])
def test_a_member_must_have_the_value_expected(expected: Json, got: Json) -> None:
    message = f"place: a: expected {expected!r}, got {got!r}"
    assert problem_of(lambda: Members({"a": got}, "place").expect("a", expected)) == message
    Members({"a": expected}, "place").expect("a", expected)


def test_messages_name_the_place_inside_of_a_document() -> None:
    members = Members({"a": {"b": 1}, "c": [{}, {"d": 1}]}, "place")
    assert problem_of(lambda: members.members("a").text("b")) == "place: a: b: expected text, got 1"
    _, second = members.objects("c")
    assert problem_of(lambda: second.text("d")) == "place: c[1]: d: expected text, got 1"
    assert problem_of(lambda: second.text("e")) == "place: c[1]: expected a member 'e', got none"
