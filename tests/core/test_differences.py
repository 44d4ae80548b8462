"""Where two trees differ, by path."""

from __future__ import annotations

import pytest

from elspeth.core.differences import find_differences


@pytest.mark.parametrize(
    ("first", "second", "found"),
    [
        ({"a": [1, {"b": 2}]}, {"a": [1, {"b": 2}]}, []),
        ({"a": [1, {"b": 2}]}, {"a": [1, {"b": 3}]}, [("a[1].b", 2, 3)]),
        ({"a": 1, "c": 0}, {"b": 1, "c": 0}, [("a", 1, None), ("b", None, 1)]),
        ({"a": [1]}, {"a": [1, 2]}, [("a", [1], [1, 2])]),
        ([{"a": 1}], [{"a": "1"}], [("[0].a", 1, "1")]),
        ({"a": {}}, {"a": []}, [("a", {}, [])]),
        ({".a": {".b": 1}}, {".a": {".b": 2}}, [(".a..b", 1, 2)]),
    ],
)
def test_each_difference_is_found(first: object, second: object, found: list[tuple[str, object, object]]) -> None:
    assert list(find_differences(first, second)) == found
