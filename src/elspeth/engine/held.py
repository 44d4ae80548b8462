"""What waits at the nodes, noted for the next commit, so that a run can be resumed with it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import count

from elspeth.contracts.plugins import JsonObject
from elspeth.core.landscape.recording.batches import HeldItem
from elspeth.core.landscape.recording.recorder import LandscapeRecorder

__all__ = ["Held"]

_Key = tuple[str, str]


class Held:
    """The items that wait, by node and name. What comes and goes between two commits never reaches the database."""

    def __init__(self, items: Iterable[HeldItem] = ()) -> None:
        self._positions: dict[_Key, int] = {(each.node_id, each.item): each.position for each in items}
        self._next = count(max(self._positions.values(), default=-1) + 1)
        self._changed: dict[_Key, Callable[[], JsonObject]] = {}
        self._kept: set[_Key] = set(self._positions)
        self._gone: set[_Key] = set()

    def put(self, node_id: str, item: str, state: Callable[[], JsonObject]) -> None:
        """Note an item, or that it changed. Its state is asked for when the next commit comes, if it still waits."""
        key = node_id, item
        if key not in self._positions:
            self._positions[key] = next(self._next)
        self._changed[key] = state

    def drop(self, node_id: str, item: str) -> None:
        """Note that an item waits no more."""
        key = node_id, item
        if self._positions.pop(key, None) is None:
            return
        self._changed.pop(key, None)
        if key in self._kept:
            self._kept.remove(key)
            self._gone.add(key)

    def flush(self, recorder: LandscapeRecorder, run_id: str) -> None:
        """Record what changed, within the caller's unit of work."""
        if not self._changed and not self._gone:
            return
        items = [
            HeldItem(node_id=key[0], item=key[1], position=self._positions[key], state=state())
            for key, state in self._changed.items()
        ]
        recorder.hold(run_id, items, self._gone)
        self._kept.update(self._changed)
        self._changed.clear()
        self._gone.clear()
