"""Values of the predecessor's tables in today's columns."""

from __future__ import annotations

import pytest

from elspeth.core.landscape.migration._places import Place
from elspeth.core.landscape.records.mapping import mapper
from elspeth_schema.records import TOKEN_OUTCOME


@pytest.mark.parametrize(
    ("path", "outcome", "expected"),
    [
        ("default_flow", "failed", "completed"),
        ("routed", "failed", "routed"),
        ("a word of its own", "failed", "failed"),
        (None, "failed", "failed"),
        ("a word of its own", None, "a word of its own"),
    ],
)
def test_a_column_has_the_first_value_that_it_can_hold(path: str | None, outcome: str | None, expected: str) -> None:
    candidates = {"outcome": ("path", "outcome")}
    place = Place(record_type=TOKEN_OUTCOME, convert=mapper(TOKEN_OUTCOME), candidates=candidates)
    column = next(each for each in TOKEN_OUTCOME.columns if each.name == "outcome")
    assert place._value(column, {"path": path, "outcome": outcome}) == expected
