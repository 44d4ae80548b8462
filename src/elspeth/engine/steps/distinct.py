"""Transforms that pass on the first row of each key."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from elspeth.contracts.plugins import DistinctTransform, RowError
from elspeth.contracts.routing import CONTINUE
from elspeth.contracts.rows import RowValidator
from elspeth.core.canonical import stable_hash
from elspeth.core.landscape.recording.batches import FIRST_ROW, HeldItem
from elspeth.core.settings.wiring import Place, Wire
from elspeth.engine.errors import PLUGIN_ERRORS, Failure
from elspeth.engine.steps import CollectingStep
from elspeth.engine.tokens import HashedRow, LiveToken, Onward, copy_row
from elspeth.engine.trail import TrailWriter

__all__ = ["DistinctStep"]

_DROPPED = "a row with the same key came before"


class DistinctStep(CollectingStep):
    """Drops tokens whose key occurred before.

    It keeps the hash of each key with the index of the first source row that has it. The hashes are stored with the
    waiting items of the run, not in its trail, because the value of a single field could be guessed from its hash.
    """

    def __init__(self, trail: TrailWriter, place: Place, plugin: DistinctTransform) -> None:
        self._trail = trail
        self._place = place
        self._plugin = plugin
        self._validator = RowValidator(plugin.options.schema_config)
        self._first: dict[bytes, int] = {}

    def take(self, token: LiveToken, along: Wire) -> Onward:  # noqa: ARG002  the same on every edge
        """Send on the token, or drop it."""
        visit = self._trail.arrive(token, self._place)
        try:
            output = HashedRow.of(self._validator.validate(token.row))
            key = self._plugin.key(copy_row(output.row))
            if isinstance(key, RowError):
                return self._trail.refuse(visit, Failure.of(key))
            digest = stable_hash(key)
        except PLUGIN_ERRORS as error:  # a plugin may fail in any way, and one row must not end the run
            return self._trail.refuse(visit, Failure.of(error))
        first = self._first.get(bytes.fromhex(digest))
        if first is not None:
            reason = {"action": self._plugin.name, "dropped": _DROPPED, FIRST_ROW: first}
            return self._trail.drop(visit, reason)
        self._trail.remember(self._place, digest, len(self._first), {FIRST_ROW: token.row_index})
        self._first[bytes.fromhex(digest)] = token.row_index
        self._trail.change(visit, output, self._plugin.name)
        return [self._trail.depart(token, self._place, CONTINUE)]

    def release_all(self) -> Onward:
        """Drop the keys, as no more tokens will arrive."""
        self._first.clear()
        return []

    def restore(self, items: Sequence[HeldItem]) -> None:
        """Restore the keys that another process kept."""
        self._first = {bytes.fromhex(each.item): cast("int", each.state[FIRST_ROW]) for each in items}
