"""Tokens in memory, and as kept while they wait."""

from decimal import Decimal

import pytest

from elspeth.contracts.rows import RowData
from elspeth.engine.errors import AnswerError
from elspeth.engine.tokens import Branch, LiveToken, changed_fields, require_json

STATE = {
    "token_id": "t",
    "row_id": "r",
    "row_index": 4,
    "row": {"id": 1},
    "row_hash": "h",
    "step": 2,
    "branches": [{"name": "a", "group": "g", "join": ["coalesce", 0]}],
    "error_hash": None,
}
"""A waiting token as the first release keeps it."""


def test_a_token_stored_by_the_first_release_is_restored() -> None:
    branch = Branch(name="a", group="g", join=("coalesce", 0))
    token = LiveToken(
        token_id="t", row_id="r", row_index=4, row={"id": 1}, row_hash="h", step_index=2, branches=(branch,)
    )
    assert LiveToken.restore(STATE) == token
    branches = ({"name": "a", "group": "g", "join": ("coalesce", 0)},)
    assert token.state() == STATE | {"branches": branches, "source": None}


def test_a_row_that_is_nested_too_deeply_cannot_be_kept() -> None:
    deep: list[object] = []
    for _ in range(10**5):
        deep = [deep]
    with pytest.raises(AnswerError):
        require_json({"x": deep})


def test_fields_that_change_are_named_in_order_and_a_decimal_is_not_an_integer() -> None:
    before: RowData = {"gone": 1, "same": 1, "price": Decimal(1), "b": 1}
    after: RowData = {"same": 1, "price": 1, "b": 2, "added": 1}
    assert changed_fields(before, after) == ["added", "b", "gone", "price"]
