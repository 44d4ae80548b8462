"""Deadlines for the answers of other machines."""

from __future__ import annotations

from collections.abc import Callable
from queue import Empty, SimpleQueue
from threading import Thread
from typing import TypeVar

from elspeth.evidence.format.errors import EvidenceError

__all__ = ["within"]

_Answer = TypeVar("_Answer")


def within(seconds: float, ask: Callable[[], _Answer], place: str) -> _Answer:
    """Return what `ask` returns, or raise what it raises.

    The limit is for the whole answer: the timeout of a socket does not stop an answer that comes byte by byte. After a
    timeout the thread that asks is abandoned; it ends with its connection, or with the process.

    Raises EvidenceError about `place` if the answer takes longer.
    """
    found: SimpleQueue[tuple[_Answer] | Exception] = SimpleQueue()

    def work() -> None:
        try:
            found.put((ask(),))
        except Exception as error:  # noqa: BLE001  raised again below
            found.put(error)

    Thread(target=work, daemon=True).start()
    try:
        answer = found.get(timeout=seconds)
    except Empty:
        raise EvidenceError(place, f"does not answer within {seconds:g} seconds") from None
    if isinstance(answer, Exception):
        raise answer
    return answer[0]
