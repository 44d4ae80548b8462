"""Makes ids, which are short and sorted by time."""

from __future__ import annotations

import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from elspeth.core.landscape.database.errors import LandscapeError

__all__ = ["DIGITS", "ID_LENGTH", "IdMaker", "new_id", "other_tag", "tagged_ids"]

ID_LENGTH = 13
"""The number of characters of a new id."""

DIGITS = "0123456789abcdfghjkmnpqrstuvwxyz"
"""Digits of base 32, in the order of their code points.

They exclude i, l and o, which look like digits, and e, so that no spreadsheet mistakes an id for a number.
"""

_PAIRS = [high + low for high in DIGITS for low in DIGITS]

_UNIT = 12
"""Time is counted in units of 2^12 ns. Ids are four units apart, which is one id every 16 microseconds."""

_STEP = 4

_AFTER = 1 << 50
"""The first time that an id cannot hold, in 2116."""

_TAG_COUNT = 10 * (1 << 12)
"""The number of tags in one period: twelve bits, and one of ten digits as the last character."""


class IdMaker:
    """Makes ids: 48 bits of time, 17 of this maker.

    Each id is larger than the one before, even if the clock stands still or is set back. The first character is a
    letter, since 2016, and the last one of the digits 0 to 9, so that no word and no number looks like an id.
    """

    def __init__(self, tag: int | None = None, *, clock: Callable[[], int] = time.time_ns) -> None:
        tag = _tag(secrets.randbelow(_TAG_COUNT)) if tag is None else tag
        self._clock = clock
        self._lock = threading.Lock()
        self.tag = tag
        self._last = -_AFTER
        """The time of the last id, with the upper two bits of the tag."""
        self._tag = tag >> 15
        self._end = _encode(tag & 0x7FFF, 3)
        self._period, self._begin = _AFTER, ""

    def make(self) -> str:
        """Return a new id.

        Raises LandscapeError if the clock is before 1970 or after 2115, which an id cannot express.
        """
        with self._lock:
            moment = self._clock() >> _UNIT & -_STEP | self._tag
            if moment <= self._last:
                moment = self._last + _STEP
            # The first six characters change every four seconds.
            if moment >> 20 != self._period:
                self._begin_period(moment >> 20)
            self._last = moment
            return f"{self._begin}{_PAIRS[moment >> 10 & 1023]}{_PAIRS[moment & 1023]}{self._end}"

    def _begin_period(self, period: int) -> None:
        if not 0 <= period < _AFTER >> 20:
            raise LandscapeError(f"the clock says {datetime.now(UTC):%Y-%m-%d}, expected 1970 to 2115: set it")
        self._period, self._begin = period, _encode(period, 6)


def new_id() -> str:
    """Return a new id of this process.

    Later ids sort later, so that rows are inserted at the end of an index. Ids are unique within a run. The ids of two
    processes that record at the same time can be equal only if both drew the same of 40,960 tags. Raises LandscapeError
    as `IdMaker.make` does.
    """
    return _maker.make()


def other_tag(number: int) -> int:
    """Return the numbered tag for another process.

    The tags of 40,959 consecutive numbers differ from each other.
    """
    own = (_maker.tag >> 5) * 10 + (_maker.tag & 31)
    return _tag((own + 1 + number % (_TAG_COUNT - 1)) % _TAG_COUNT)


@contextmanager
def tagged_ids(tag: int) -> Iterator[None]:
    """Make the ids in the block with a given tag."""
    global _maker  # noqa: PLW0603  one per process
    before, _maker = _maker, IdMaker(tag)
    try:
        yield
    finally:
        _maker = before


def _tag(number: int) -> int:
    return number // 10 << 5 | number % 10


def _encode(number: int, length: int) -> str:
    return "".join(DIGITS[number >> 5 * place & 31] for place in reversed(range(length)))


def _renew() -> None:
    """Give this process a tag of its own."""
    global _maker  # noqa: PLW0603  one per process
    _maker = IdMaker()


_maker = IdMaker()
os.register_at_fork(after_in_child=_renew)
