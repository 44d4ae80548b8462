"""The keys of a record type, for as long as other records may refer to them: exact, in some 20 bytes each."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from typing import cast

import orjson

from elspeth.evidence.record_reader import Key

__all__ = ["KeySet", "compact"]

_SIZE = 17
"""Of a compact key, in bytes: a mark and 128 bits."""

_PIECE = 32
"""Keys of a new block."""

_LIMIT = 2 * _PIECE * _SIZE
"""Of a block, in bytes: a larger one is split."""

_HEX = re.compile("[0-9a-f]*").fullmatch
_ID_LENGTH = 32
"""Of an id that is 128 bits in hexadecimal."""

_ID_MARK = "00"
_DIGEST_MARK = b"\x01"
"""No id can pass for a digest."""


def compact(keys: Sequence[Key]) -> list[bytes]:
    """What stands for keys, 17 bytes each: an id that is 128 bits itself, or a digest of that size."""
    if set(map(type, keys)) == {str}:
        ids = cast("Sequence[str]", keys)
        if set(map(len, ids)) == {_ID_LENGTH} and _HEX("".join(ids)):
            return _keys(bytes.fromhex(_ID_MARK + _ID_MARK.join(ids)))
    if len(keys) > 1:
        return [compacted for key in keys for compacted in compact([key])]
    return [_DIGEST_MARK + blake2b(orjson.dumps(key), digest_size=_SIZE - 1).digest() for key in keys]


class KeySet:
    """A set of compact keys that only grows.

    They stand in blocks, each of the keys from its first up to the first of the next. Keys tend to come, and to be
    asked for, in the order in which they were made: then a few blocks serve many. In any other order each key takes
    a search of its own.
    """

    def __init__(self) -> None:
        self._size = 0
        self._firsts = [b""]
        self._blocks = [b""]

    def __len__(self) -> int:
        return self._size

    def update(self, keys: Sequence[bytes]) -> None:
        """Take keys that are different from each other, and from all those taken before."""
        self._size += len(keys)
        # Backwards, because a block that is split moves those behind it.
        for at, some in reversed(list(self._by_block(keys))):
            block = b"".join([self._blocks[at], *some])
            if len(block) <= _LIMIT:
                self._blocks[at] = block
                continue
            held = sorted(_keys(block))
            pieces = [held[start : start + _PIECE] for start in range(0, len(held), _PIECE)]
            self._blocks[at : at + 1] = map(b"".join, pieces)
            self._firsts[at + 1 : at + 1] = [piece[0] for piece in pieces[1:]]

    def issuperset(self, keys: Sequence[bytes]) -> bool:
        """Whether all of the keys were taken."""
        return all(_holds(self._blocks[at], key) for at, some in self._by_block(keys) for key in some)

    def isdisjoint(self, keys: Sequence[bytes]) -> bool:
        """Whether none of the keys was taken."""
        return not any(_holds(self._blocks[at], key) for at, some in self._by_block(keys) for key in some)

    def _by_block(self, keys: Sequence[bytes]) -> Iterator[tuple[int, list[bytes]]]:
        """The blocks that the keys belong to, in order, each with these keys."""
        rest, done = sorted(keys), 0
        while done < len(rest):
            after = bisect_right(self._firsts, rest[done])
            end = bisect_left(rest, self._firsts[after], done) if after < len(self._firsts) else len(rest)
            yield after - 1, rest[done:end]
            done = end


def _keys(block: bytes) -> list[bytes]:
    return [block[start : start + _SIZE] for start in range(0, len(block), _SIZE)]


def _holds(block: bytes, key: bytes) -> bool:
    at = block.find(key)
    while at > 0 and at % _SIZE:
        # The end of one key and the beginning of the next may look like a third.
        at = block.find(key, at + 1)
    return at >= 0
