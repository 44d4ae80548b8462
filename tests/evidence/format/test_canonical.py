"""Only canonical JSON is accepted, however quickly it is checked."""

from __future__ import annotations

import json
from collections.abc import Callable

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from elspeth.evidence.format.canonical import Json, canonical, parse_canonical
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
