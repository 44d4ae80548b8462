"""Elements of DER."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elspeth.evidence.format.der import Element, children, encoded
from elspeth.evidence.format.timestamp import may_be_timestamp

ELEMENTS = st.tuples(st.integers(0, 255), st.binary(max_size=3) | st.binary(min_size=128, max_size=300))


@given(st.lists(ELEMENTS, max_size=3))
def test_elements_are_read_as_they_were_written(elements: list[Element]) -> None:
    assert children(b"".join(map(encoded, elements))) == elements


@given(st.lists(ELEMENTS, max_size=2), ELEMENTS, st.data())
def test_an_element_that_is_cut_off_is_refused(before: list[Element], last: Element, data: st.DataObject) -> None:
    left = encoded(last)[: data.draw(st.integers(1, len(encoded(last)) - 1))]
    with pytest.raises((ValueError, IndexError)):
        children(b"".join(map(encoded, before)) + left)


def test_an_integer_in_a_sequence() -> None:
    # X.690, section 8.9
    assert children(bytes.fromhex("3003020105")) == [(0x30, bytes.fromhex("020105"))]


def test_a_response_that_is_cut_off_is_not_a_time_stamp() -> None:
    response = bytes.fromhex("30053003020100")  # an authority that grants, without its token
    assert may_be_timestamp(response)
    assert not any(may_be_timestamp(response[:size]) for size in range(len(response)))
