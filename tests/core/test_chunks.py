"""Splitting into chunks."""

from hypothesis import given
from hypothesis import strategies as st

from elspeth.core.chunks import chunks


@given(items=st.lists(st.integers()), size=st.integers(1, 5))
def test_joined_chunks_are_the_items(items: list[int], size: int) -> None:
    found = list(chunks(iter(items), size))
    assert [item for chunk in found for item in chunk] == items
    assert all(len(chunk) == size for chunk in found[:-1])
    assert all(found)
