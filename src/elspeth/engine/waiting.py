"""Keeps the waiting items of a run between two commits."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import count

from elspeth.contracts.plugins import JsonObject
from elspeth.core.landscape.recording.batches import HeldItem
from elspeth.core.landscape.recording.recorder import LandscapeRecorder

__all__ = ["WaitingItems"]

_Key = tuple[str, str]
"""The node's id, and the name of a waiting item."""


class WaitingItems:
    """The waiting items of a run.

    Items that are added and dropped between two commits never reach the database.
    """

    def __init__(self, items: Iterable[HeldItem]) -> None:
        self._positions: dict[_Key, int] = {(each.node_id, each.item): each.position for each in items}
        self._next = count(max(self._positions.values(), default=-1) + 1)
        self._changed: dict[_Key, Callable[[], JsonObject]] = {}
        self._recorded: set[_Key] = set(self._positions)
        self._gone: set[_Key] = set()
        self._remembered: list[HeldItem] = []

    def put(self, key: _Key, state: Callable[[], JsonObject]) -> None:
        """Note a new or changed item."""
        if key not in self._positions:
            self._positions[key] = next(self._next)
        self._changed[key] = state

    def drop(self, key: _Key) -> None:
        """Note that an item no longer waits."""
        if self._positions.pop(key, None) is None:
            return
        self._changed.pop(key, None)
        if key in self._recorded:
            self._recorded.remove(key)
            self._gone.add(key)

    def remember(self, item: HeldItem) -> None:
        """Note an item that stays until the run ends."""
        self._remembered.append(item)

    def record(self, recorder: LandscapeRecorder, run_id: str) -> None:
        """Record the changes since the last commit."""
        if not self._changed and not self._gone and not self._remembered:
            return
        items = [
            HeldItem(node_id=key[0], item=key[1], position=self._positions[key], state=state())
            for key, state in self._changed.items()
        ]
        recorder.hold(run_id, [*items, *self._remembered], self._gone)
        self._remembered.clear()
        self._recorded.update(self._changed)
        self._changed.clear()
        self._gone.clear()
