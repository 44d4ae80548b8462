"""Calls that are made, and compared with those of a recorded run."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import replace

from elspeth.contracts.plugins import JsonObject
from elspeth.core.canonical import stable_hash
from elspeth.engine.calls.caller import Caller
from elspeth.engine.calls.exchange import Difference, Exchange
from elspeth.engine.calls.replay import ReplayCaller
from elspeth.plugins.base import CallingTransform

__all__ = ["VerifyCaller"]


class VerifyCaller:
    """Makes calls, and compares each answer with the one that was recorded for the same row and request.

    What of an answer counts is the plugin's to say. Two failures are equal, whatever failed.
    """

    def __init__(self, live: Caller, replay: ReplayCaller) -> None:
        self._live = live
        self._replay = replay

    def start(self, plugin: CallingTransform, request: JsonObject, *, row_index: int) -> Future[Exchange]:
        """Have the request answered live; the exchange says if the answer differs."""
        recorded = self._replay.answer(request, row_index=row_index)
        compared: Future[Exchange] = Future()

        def compare(asked: Future[Exchange]) -> None:
            if asked.cancelled():
                compared.cancel()
                return
            try:
                received = asked.result()
                difference = _difference(plugin, request, row_index, recorded, received)
                compared.set_result(replace(received, difference=difference))
            except BaseException as error:  # noqa: BLE001  whoever waits for the answer is told
                compared.set_exception(error)

        self._live.start(plugin, request, row_index=row_index).add_done_callback(compare)
        return compared

    def close(self) -> None:
        """Stop the calls."""
        self._live.close()


def _difference(
    plugin: CallingTransform, request: JsonObject, row_index: int, recorded: Exchange, received: Exchange
) -> Difference | None:
    hashes = _hash(plugin, recorded.response), _hash(plugin, received.response)
    if hashes[0] == hashes[1]:
        return None
    return Difference(
        row_index=row_index, request_hash=stable_hash(request), recorded_hash=hashes[0], received_hash=hashes[1]
    )


def _hash(plugin: CallingTransform, response: JsonObject | None) -> str | None:
    if response is None:
        return None
    try:
        return stable_hash(plugin.comparable(response))
    except Exception:  # noqa: BLE001  a recorded answer may be none that this version of the plugin knows
        return stable_hash(response)
