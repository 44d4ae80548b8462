"""Text whose beginning is examined before it is read."""

from __future__ import annotations

import io

from hypothesis import example, given
from hypothesis import strategies as st

from elspeth.plugins import _look_ahead
from elspeth.plugins._look_ahead import LookAhead

TEXTS = st.text(alphabet="abc \n", max_size=20)
READS = st.lists(st.tuples(st.booleans(), st.integers(min_value=1, max_value=6)), min_size=3, max_size=12)


@example(text="abcdef", chunk=2, lines=0, reads=[(True, 4), (True, 4)])
@given(
    text=TEXTS, chunk=st.integers(min_value=1, max_value=5), lines=st.integers(min_value=0, max_value=3), reads=READS
)
def test_looking_ahead_does_not_change_what_is_read(
    text: str, chunk: int, lines: int, reads: list[tuple[bool, int]]
) -> None:
    usual, _look_ahead._CHUNK = _look_ahead._CHUNK, chunk
    try:
        looked, plain = LookAhead(io.StringIO(text)), io.StringIO(text)
        assert looked.first() == text.lstrip()[:1]
        looked.first_lines(lines, 5)
    finally:
        _look_ahead._CHUNK = usual
    for is_line, size in reads:
        if is_line:
            assert looked.readline(size) == plain.readline(size)
        else:
            found = looked.read(size)
            assert found or not plain.read(1), "only the end is empty"
            assert found == plain.read(len(found))


def test_the_first_lines_end_before_a_long_one() -> None:
    assert LookAhead(io.StringIO("ab\n\ncd\nabcde\nef\n")).first_lines(9, 5) == {1: "ab\n", 3: "cd\n"}
