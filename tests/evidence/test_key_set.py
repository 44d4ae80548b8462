"""A set of keys in little memory is the set of these keys."""

from __future__ import annotations

import tracemalloc
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from elspeth.evidence.key_set import KeySet, compact
from elspeth.evidence.record_reader import Key

alike = st.text("01", min_size=4, max_size=4).map(lambda digits: "".join(f"0{digit}" for digit in digits) * 4)
"""Ids of few different bytes: the end of one and the beginning of another often look like a third."""

keys = st.one_of(alike, st.integers(0, 3), st.text("ab", max_size=2), st.tuples(st.text("ab", max_size=2), alike))


def ids(count: int) -> list[str]:
    """As many ids, in a random order that is the same each time."""
    random = Random(1)  # noqa: S311 - test data
    return [random.randbytes(16).hex() for _ in range(count)]


@given(st.lists(st.lists(keys, max_size=4), max_size=8), st.lists(keys, max_size=4))
def test_it_holds_what_it_was_given(batches: list[list[Key]], asked: list[Key]) -> None:
    plain: set[Key] = set()
    compacted = KeySet()
    for batch in batches:
        new = list(dict.fromkeys(key for key in batch if key not in plain))
        plain.update(new)
        compacted.update(compact(new))
    assert len(compacted) == len(plain)
    assert compacted.issuperset(compact(asked)) == plain.issuperset(asked)
    assert compacted.isdisjoint(compact(asked)) == plain.isdisjoint(asked)


@given(st.lists(st.integers(1, 400), min_size=1, max_size=10), st.booleans())
def test_it_holds_many_in_any_order(sizes: list[int], in_order: bool) -> None:
    some = compact(sorted(ids(2 * sum(sizes))) if in_order else ids(2 * sum(sizes)))
    given_keys, others = some[::2], some[1::2]
    held, done = KeySet(), 0
    for size in sizes:
        assert held.isdisjoint(given_keys[done:])
        held.update(given_keys[done : done + size])
        done += size
    assert len(held) == len(given_keys)
    assert held.issuperset(given_keys)
    assert held.isdisjoint(others)
    assert not held.issuperset([*given_keys, others[0]])


def test_two_neighbours_do_not_make_a_third() -> None:
    neighbours = compact(["aa" * 8 + "00" + "bb" * 7, "cc" * 16])
    third = compact(["bb" * 7 + "00" + "cc" * 8])
    assert third[0] in b"".join(neighbours)
    held = KeySet()
    held.update(neighbours)
    assert held.isdisjoint(third)
    held.update(third)
    assert held.issuperset(third)


@given(keys, keys)
def test_different_keys_are_compacted_differently(one: Key, other: Key) -> None:
    assert (compact([one]) == compact([other])) == (one == other)
    assert compact([one, other]) == [*compact([one]), *compact([other])]


def test_a_key_takes_some_twenty_bytes() -> None:
    some = compact(ids(20_000))
    held = KeySet()
    tracemalloc.start()
    for start in range(0, len(some), 500):
        held.update(some[start : start + 500])
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(held) * 17 < taken < len(held) * 24
