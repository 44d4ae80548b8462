"""A key map behaves like a dictionary."""

from __future__ import annotations

import tracemalloc
from itertools import count
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from elspeth.core.landscape.recording.ids import IdMaker
from elspeth.evidence.verifier._key_map import Key, KeyMap, compact

alike = st.text("01", min_size=4, max_size=4).map(lambda digits: "".join(f"0{digit}" for digit in digits) * 4)
"""Ids of few different bytes: the end of one and the beginning of another often look like a third."""

short = st.text("a\x00\x02é", max_size=18) | st.text("ab", min_size=13, max_size=13)

keys = st.one_of(
    alike, short, st.integers(0, 3), st.text("ab", max_size=2), st.tuples(st.text("ab", max_size=2), alike)
)


def ids(count: int) -> list[str]:
    """Return ids in an order that looks random."""
    random = Random(1)  # noqa: S311 - test data
    return [random.randbytes(16).hex() for _ in range(count)]


@given(st.lists(st.lists(keys, max_size=4), max_size=8), st.lists(keys | st.none(), max_size=8))
def test_the_map_holds_the_given_keys(batches: list[list[Key]], asked: list[Key]) -> None:
    plain: dict[Key, int] = {}
    compacted = KeyMap()
    for batch in batches:
        new = list(dict.fromkeys(key for key in batch if key not in plain))
        plain.update({key: len(plain) + at for at, key in enumerate(new)})
        compacted.take(compact(new) if new else [])
    assert len(compacted) == len(plain)
    wanted = [None if key is None else compact([key])[0] for key in asked]
    assert compacted.find(wanted) == [None if key is None else plain.get(key) for key in asked]
    present = [key for key in wanted if key is not None]
    assert compacted.isdisjoint(present) == plain.keys().isdisjoint(key for key in asked if key is not None)


@given(st.lists(st.integers(1, 400), min_size=1, max_size=10), st.sampled_from(["in order", "nearly", "at random"]))
def test_the_map_holds_many_keys_in_any_order(sizes: list[int], order: str) -> None:
    some = compact(ids(2 * sum(sizes)) if order == "at random" else sorted(ids(2 * sum(sizes))))
    given_keys, others = some[::2], some[1::2]
    if order == "nearly":
        given_keys[::7] = given_keys[::7][::-1]
    held, done = KeyMap(), 0
    for size in sizes:
        assert held.isdisjoint(given_keys[done:])
        held.take(given_keys[done : done + size])
        done += size
    assert len(held) == len(given_keys)
    assert held.find(given_keys) == list(range(len(given_keys)))
    assert [held.find([key]) for key in given_keys[:50]] == [[number] for number in range(len(given_keys[:50]))]
    assert held.find(others) == [None] * len(others)


def test_two_adjacent_keys_do_not_produce_a_third() -> None:
    """A number and the next key can imitate a key."""
    first, second = compact(["aa" * 16, "bb" * 16])
    held = KeyMap()
    held.take([first, second])
    third = (first + bytes(4) + second)[8:25]
    assert len(third) == len(first)
    assert held.isdisjoint([third])
    assert held.find([third]) == [None]


def test_several_adjacent_keys_do_not_produce_another() -> None:
    """Numbers end with zeros, and these keys begin alike."""
    held = KeyMap()
    held.take(compact(["00" * 16, "aa" * 16, "aa" * 15 + "bb", "aa" * 15 + "cc"]))
    imitated = compact(["00" * 3 + "aa" * 13])
    assert held.isdisjoint(imitated)
    assert held.find(imitated) == [None]


@given(st.lists(st.text("abz019", max_size=16), min_size=1))
def test_short_ids_keep_their_order(some: list[str]) -> None:
    """Keys that were made together are found together."""
    assert sorted(compact([key])[0] for key in some) == [compact([key])[0] for key in sorted(some)]


def test_keys_that_differ_in_what_fills_them_up_are_told_apart() -> None:
    """Short ids are filled up to one length with zeros."""
    some = ["", "a", "a\0", "a\0\0", "\0a", "a" * 15, "a" * 15 + "\0", "a" * 16, "a" * 16 + "\0", "a" * 17, "é", "é\0"]
    some += ["0" * 32, "0" * 31, "0" * 33, "A" * 32, "a" * 32, "g" * 32, "00" * 17]
    alone = [compact([each])[0] for each in some]
    assert len(set(alone)) == len(some)
    assert {len(each) for each in alone} == {17}
    assert {len(compact([each])) for each in some} == {1}
    for length in {len(each) for each in some}:
        together = [each for each in some if len(each) == length]
        assert compact(together) == [alone[some.index(each)] for each in together]
    mixed: list[Key] = [("a", "b"), ("ab",), ("ab", None), 1, "1", None, "None", ("a", 1), ("a", "1")]
    assert len({compact([each])[0] for each in mixed}) == len(mixed)


@given(keys, keys)
def test_different_keys_are_compacted_differently(one: Key, other: Key) -> None:
    assert (compact([one]) == compact([other])) == (one == other)
    assert compact([one, other]) == [*compact([one]), *compact([other])]


def bytes_of_a_key(some: list[bytes]) -> float:
    """Return the memory that a map takes for each key."""
    held = KeyMap()
    tracemalloc.start()
    for start in range(0, len(some), 500):
        held.take(some[start : start + 500])
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return taken / len(held)


def test_a_key_takes_about_23_bytes() -> None:
    assert 21 < bytes_of_a_key(compact(ids(20_000))) < 24


def test_ids_in_order_of_creation_take_less_memory() -> None:
    maker = IdMaker(1, clock=count(2**60, 100_000).__next__)
    assert 3 < bytes_of_a_key(compact([maker.make() for _ in range(20_000)])) < 8
