"""Keeps the keys of a record type in little memory.

A key takes about 7 bytes if keys are added in sorted order, else about 23.
"""

from __future__ import annotations

import re
import zlib
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from itertools import count
from struct import Struct
from typing import TypeAlias, cast

import orjson

__all__ = ["Key", "KeyMap", "Part", "compact"]

Part: TypeAlias = "str | int | None"
Key: TypeAlias = "Part | tuple[Part, ...]"
"""The values of some columns of one record; for a single column, the bare value."""

_SIZE = 17
"""Bytes of a compact key: a mark and 16 bytes."""

_ENTRY = Struct("=17sI")
"""A key and its number."""

_PIECE = 64
"""Keys of a new block."""

_LIMIT = 2 * _PIECE * _ENTRY.size
"""Bytes of a block. A larger one is split."""

_COMPRESSED = b"\x78"
"""The first byte of compressed blocks (RFC 1950, section 2.2), with which no key begins."""

_FEW = 6
"""The largest number of keys that are searched in a block. For more keys, unpacking the block is faster."""

_HEX = re.compile("[0-9a-f]*").fullmatch
_ID_LENGTH = 32
"""Characters of an id of 128 bits in hexadecimal."""

_ID_MARK = "00"
_DIGEST_MARK = b"\x01"
_TEXT_MARK = "\x02"
"""The marks, which keep the kinds of keys apart."""


def compact(keys: Sequence[Key]) -> list[bytes]:
    """Return keys in 17 bytes each.

    A mark precedes 16 bytes: an id of 128 bits in hexadecimal, another id of up to 16 characters, or a digest. Ids keep
    their order.
    """
    if set(map(type, keys)) == {str}:
        ids = cast("Sequence[str]", keys)
        lengths, joined = set(map(len, ids)), "".join(ids)
        if len(lengths) == 1:
            (length,) = lengths
            if length == _ID_LENGTH and _HEX(joined):
                return _slices(bytes.fromhex(_ID_MARK + _ID_MARK.join(ids)))
            if length < _SIZE and joined.isascii() and "\0" not in joined:
                padding = "\0" * (_SIZE - 1 - length)
                return _slices(f"{_TEXT_MARK}{f'{padding}{_TEXT_MARK}'.join(ids)}{padding}".encode())
    if len(keys) > 1:
        return [compacted for key in keys for compacted in compact([key])]
    return [_DIGEST_MARK + blake2b(orjson.dumps(key), digest_size=_SIZE - 1).digest() for key in keys]


def _slices(data: bytes) -> list[bytes]:
    return [data[start : start + _SIZE] for start in range(0, len(data), _SIZE)]


class KeyMap:
    """Maps compact keys to their numbers.

    Keys are numbered from 0 in the order in which they are added.

    Each block holds the keys from its first one up to the first key of the next block. Keys tend to be added and looked
    up in the order in which they were made: then a few blocks serve many keys, and all other blocks stay compressed.
    In another order each key takes a search of its own.
    """

    def __init__(self) -> None:
        self._size = 0
        self._firsts = [b""]
        self._blocks = [b""]
        self._last = b""
        """The largest key."""

    def __len__(self) -> int:
        return self._size

    def take(self, keys: Sequence[bytes]) -> None:
        """Add keys, all different and none of them added before."""
        if not keys:
            return
        entries = list(map(_ENTRY.pack, keys, count(self._size)))
        self._size += len(keys)
        if keys[0] > self._last and all(map(bytes.__lt__, keys, keys[1:])):
            self._firsts += keys[::_PIECE]
            pieces = (b"".join(entries[at : at + _PIECE]) for at in range(0, len(entries), _PIECE))
            self._blocks += [zlib.compress(piece, 1) for piece in pieces]
            self._last = keys[-1]
            return
        entries.sort()
        self._last = max(self._last, entries[-1][:_SIZE])
        self._insert(entries)

    def find(self, keys: Sequence[bytes | None]) -> list[int | None]:
        """Return the number of each key.

        The number is None for a key that was not added, and for None.
        """
        # A dict keeps the order of the keys, which is often the right one already.
        wanted = sorted(dict.fromkeys(key for key in keys if key is not None))
        found: dict[bytes | None, int] = {}
        for at, some in self._by_block(wanted):
            block = self._block(at)
            if len(some) > _FEW:
                found.update(_ENTRY.iter_unpack(block))
            else:
                found.update((key, number) for key in some if (number := _number(block, key)) is not None)
        return [found.get(key) for key in keys]

    def isdisjoint(self, keys: Sequence[bytes]) -> bool:
        """Return whether none of the keys was added."""
        by_block = self._by_block(sorted(keys))
        return all(_number(block, key) is None for at, some in by_block for block in [self._block(at)] for key in some)

    def _block(self, at: int) -> bytes:
        """Return the entries of a block."""
        block = self._blocks[at]
        return zlib.decompress(block) if block.startswith(_COMPRESSED) else block

    def _insert(self, entries: Sequence[bytes]) -> None:
        """Insert sorted entries into their blocks."""
        # Backwards, because splitting a block moves the blocks after it.
        for at, some in reversed(list(self._by_block(entries))):
            block = b"".join([self._block(at), *some])
            if len(block) <= _LIMIT:
                self._blocks[at] = block
                continue
            held = sorted(block[start : start + _ENTRY.size] for start in range(0, len(block), _ENTRY.size))
            pieces = [held[start : start + _PIECE // 2] for start in range(0, len(held), _PIECE // 2)]
            self._blocks[at : at + 1] = map(b"".join, pieces)
            self._firsts[at + 1 : at + 1] = [piece[0][:_SIZE] for piece in pieces[1:]]

    def _by_block(self, rest: Sequence[bytes]) -> Iterator[tuple[int, Sequence[bytes]]]:
        """Yield the numbers of blocks, with the entries of each.

        The argument is sorted, and holds keys or entries.
        """
        done = 0
        while done < len(rest):
            after = bisect_right(self._firsts, rest[done][:_SIZE])
            end = bisect_left(rest, self._firsts[after], done) if after < len(self._firsts) else len(rest)
            yield after - 1, rest[done:end]
            done = end


def _number(block: bytes, key: bytes) -> int | None:
    """Return the number of a key in a block."""
    at = block.find(key)
    while at > 0 and at % _ENTRY.size:
        # The end of one entry and the beginning of the next can look like a key.
        at = block.find(key, at + 1)
    return None if at < 0 else int(_ENTRY.unpack_from(block, at)[1])
