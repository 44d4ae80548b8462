"""Ids are short, sort by time and do not collide."""

from __future__ import annotations

import os
import re
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elspeth.core.landscape.database.errors import LandscapeError
from elspeth.core.landscape.recording import ids
from elspeth.core.landscape.recording.ids import ID_LENGTH, IdMaker, new_id, other_tag, tagged_ids
from tests.fixtures.ids import ID

TAGS = st.builds(lambda high, low: high << 5 | low, st.integers(0, (1 << 12) - 1), st.integers(0, 9))
CLOCK = st.integers(0, 1 << 61)


def since_1970(text: str) -> int:
    """Return a time in nanoseconds."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1_000_000_000


@pytest.mark.parametrize(
    ("tag", "at", "expected"),
    [
        (0, "1970-01-01", "0000000000000"),
        (9, "1970-01-01", "0000000000009"),
        ((4095 << 5) | 9, "1970-01-01", "0000000003zz9"),
        (0, "2016-01-01", "a2a92nf6rh000"),
        (0, "2026-11-21", "cfmtkturv0000"),
        (0, "2115-12-31", "zz02jbadu0000"),
    ],
)
def test_an_id_holds_the_time_and_the_tag_of_its_process(tag: int, at: str, expected: str) -> None:
    assert IdMaker(tag, clock=lambda: since_1970(at)).make() == expected


@given(TAGS, st.lists(CLOCK, min_size=1, max_size=50))
def test_every_id_is_larger_than_the_previous_one(tag: int, times: list[int]) -> None:
    """Even if the clock stands still, or is set back."""
    clock = iter(times)
    maker = IdMaker(tag, clock=lambda: next(clock))
    made = [maker.make() for _ in times]
    assert made == sorted(set(made))
    assert {len(each) for each in made} == {ID_LENGTH}


@given(TAGS, CLOCK, CLOCK)
def test_a_later_id_sorts_later(tag: int, one: int, other: int) -> None:
    earlier, later = (IdMaker(tag, clock=lambda at=at: at).make() for at in sorted((one, other)))  # type: ignore[misc]
    assert earlier <= later
    assert (earlier == later) == (one >> 14 == other >> 14)


@given(TAGS, TAGS, st.lists(CLOCK, min_size=1))
def test_makers_with_different_tags_never_make_the_same_id(one: int, other: int, times: list[int]) -> None:
    if one != other:
        clocks = iter(times), iter(times)
        made = [
            {maker.make() for _ in times}
            for maker in (IdMaker(one, clock=clocks[0].__next__), IdMaker(other, clock=clocks[1].__next__))
        ]
        assert made[0].isdisjoint(made[1])


@pytest.mark.parametrize("clock", [-1, 1 << 62], ids=["before 1970", "after 2115"])
def test_a_time_that_an_id_cannot_hold_is_refused(clock: int) -> None:
    with pytest.raises(LandscapeError, match=r"^the clock says \d{4}-\d\d-\d\d, expected 1970 to 2115: set it$"):
        IdMaker(clock=lambda: clock).make()


def test_every_process_has_a_tag_of_its_own() -> None:
    before = ids._maker
    child = os.fork()
    if child == 0:
        os._exit(ids._maker is before)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert ids._maker is before


def test_threads_never_get_the_same_id() -> None:
    with ThreadPoolExecutor(max_workers=4) as pool:
        made = [each for some in pool.map(lambda _: [new_id() for _ in range(2_000)], range(4)) for each in some]
    assert len(set(made)) == len(made)
    assert all(re.fullmatch(ID, each) for each in made)


def test_a_block_with_a_tag_that_fails_gives_the_tag_back() -> None:
    own = new_id()[-3:]
    with pytest.raises(KeyboardInterrupt), tagged_ids(other_tag(0)):
        raise KeyboardInterrupt
    assert new_id()[-3:] == own


def test_the_tags_of_processes_differ() -> None:
    own = new_id()[-3:]
    with tagged_ids(other_tag(0)):
        assert new_id()[-3:] != own
    assert new_id()[-3:] == own
    tags = [other_tag(number) for number in range(40_959)]
    assert len({ids._maker.tag, *tags}) == 40_960
    assert other_tag(40_959) == tags[0]
    assert all(tag < 1 << 17 and tag & 31 < 10 for tag in tags)
