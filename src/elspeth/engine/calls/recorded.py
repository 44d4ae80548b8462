"""Answers calls from a recorded run, or compares answers."""

from __future__ import annotations

import json
from collections import Counter, OrderedDict
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import replace
from itertools import groupby

from elspeth.contracts.audit import Call
from elspeth.contracts.plugins import CallError, CallingPlugin, JsonObject
from elspeth.core.canonical import stable_hash
from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.queries.recorded import calls_of_rows, calls_of_sources
from elspeth.core.landscape.queries.runs import resolve_run
from elspeth.core.payload_store import IntegrityError, PayloadStore
from elspeth.engine.calls.exchange import Attempt, Caller, Difference, Exchange, describe_error

__all__ = ["ReplayCaller", "VerifyCaller"]

_WINDOW_ROWS = 256
_WINDOWS = 8  # rows come in the order of the source, except for those that waited in a batch or for a branch

_Key = tuple[int | None, str]
"""The index of a row, or None for a source, and the hash of a request."""

_Window = Mapping[_Key, list[list[Call]]]
"""The recorded calls near a row, or of sources: a list of attempts for each visit or operation with a request."""


class ReplayCaller:
    """Answers requests with the recorded answers for the same row.

    Failed attempts are replayed, too. Repeated requests for a row get their answers in the recorded order. Requests of
    sources get the answers that the run's sources got, or the one at `source_node_id`. Raises RunNotFoundError for an
    unknown run.
    """

    def __init__(
        self, db: LandscapeDB, payloads: PayloadStore, source_run_id: str, *, source_node_id: str | None = None
    ) -> None:
        self._db = db
        self._payloads = payloads
        self._run_id = resolve_run(db, source_run_id)
        self._source_node_id = source_node_id
        self._of_sources: _Window | None = None
        self._windows: OrderedDict[int, _Window] = OrderedDict()
        self._answered: Counter[_Key] = Counter()

    def start(self, plugin: CallingPlugin, request: JsonObject, *, row_index: int | None) -> Future[Exchange]:  # noqa: ARG002  the same for every plugin
        """Return the recorded answer, as a completed future."""
        future: Future[Exchange] = Future()
        future.set_result(self.answer(request, row_index=row_index))
        return future

    def answer(self, request: JsonObject, *, row_index: int | None) -> Exchange:
        """Return the recorded exchange for a request.

        If the answer was not recorded or not kept, the exchange has a failed attempt.
        """
        key = (row_index, stable_hash(request))
        recorded = self._window(row_index).get(key, [])
        number = self._answered[key]
        if number >= len(recorded):
            problem = CallError(f"run {self._run_id} has no recorded answer to this request", is_retryable=False)
            return Exchange(attempts=(_failed(request, problem),))
        if len(recorded) > 1:
            self._answered[key] += 1
        return Exchange(attempts=tuple(self._attempt(call, request) for call in recorded[number]))

    def restart(self) -> None:
        """Reset the record of the answers that were given."""
        self._answered.clear()

    def close(self) -> None:
        """Do nothing, as no call is ever in progress."""

    def _window(self, row_index: int | None) -> _Window:
        """Return the recorded calls near a row, or of sources."""
        if row_index is None:
            if self._of_sources is None:
                self._of_sources = self._calls_of_sources()
            return self._of_sources
        number = row_index // _WINDOW_ROWS
        if number not in self._windows:
            first = number * _WINDOW_ROWS
            found: dict[_Key, list[list[Call]]] = {}
            calls = calls_of_rows(self._db, self._run_id, range(first, first + _WINDOW_ROWS))
            for (index, request_hash, _), group in groupby(
                calls, lambda each: (each[0], each[1].request_hash, each[1].state_id)
            ):
                found.setdefault((index, request_hash), []).append([call for _, call in group])
            self._windows[number] = found
            if len(self._windows) > _WINDOWS:
                self._windows.popitem(last=False)
        self._windows.move_to_end(number)
        return self._windows[number]

    def _calls_of_sources(self) -> _Window:
        """Return the recorded calls of sources.

        A resumed run may have repeated requests that got no answer. In that case only answers count.
        """
        found: dict[_Key, list[list[Call]]] = {}
        calls = calls_of_sources(self._db, self._run_id, self._source_node_id)
        for (_, request_hash), group in groupby(calls, lambda each: (each.operation_id, each.request_hash)):
            found.setdefault((None, request_hash), []).append(list(group))
        for key, groups in found.items():
            found[key] = [group for group in groups if group[-1].error_json is None] or groups
        return found

    def _attempt(self, call: Call, request: JsonObject) -> Attempt:
        error = None if call.error_json is None else json.loads(call.error_json)
        if call.response_hash is None:
            return Attempt(request=request, response=None, error=error, latency_ms=call.latency_ms)
        try:
            response = self._response(call)
        except CallError as problem:
            if error is None:
                return _failed(request, problem)
            response = None  # the attempt failed then, and so it fails now, with or without its answer
        return Attempt(request=request, response=response, error=error, latency_ms=call.latency_ms)

    def _response(self, call: Call) -> JsonObject:
        """Return the recorded answer.

        Raises CallError if the answer was not kept, is missing, or was changed.
        """
        if call.response_ref is None:
            problem = f"run {self._run_id} kept no payload of the answer to this request"
            raise CallError(problem, is_retryable=False)
        try:
            response = json.loads(self._payloads.retrieve(call.response_ref))
            found = stable_hash(response)
        except KeyError as error:
            problem = f"the payload of the answer that run {self._run_id} recorded is gone: {call.response_ref}"
            raise CallError(problem, is_retryable=False) from error
        except (IntegrityError, ValueError, OSError) as error:
            problem = f"the payload of the answer that run {self._run_id} recorded cannot be read: {error}"
            raise CallError(problem, is_retryable=False) from error
        if not isinstance(response, dict) or found != call.response_hash:
            raise CallError(
                f"payload {call.response_ref} is not the answer that run {self._run_id} recorded: "
                f"expected SHA-256 {call.response_hash}, got {found}",
                is_retryable=False,
            )
        return response


class VerifyCaller:
    """Makes calls, and compares each answer with the recorded one.

    The plugin selects the part of an answer that counts. Two failures are equal, whatever the reasons.
    """

    def __init__(self, live: Caller, replay: ReplayCaller) -> None:
        self._live = live
        self._replay = replay

    def start(self, plugin: CallingPlugin, request: JsonObject, *, row_index: int | None) -> Future[Exchange]:
        """Begin a call, whose exchange says whether the answer differs."""
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
            except BaseException as error:  # noqa: BLE001  raised again where the answer is awaited
                compared.set_exception(error)

        self._live.start(plugin, request, row_index=row_index).add_done_callback(compare)
        return compared

    def close(self) -> None:
        """Stop the calls."""
        self._live.close()


def _failed(request: JsonObject, problem: CallError) -> Attempt:
    return Attempt(request=request, response=None, error=describe_error(problem), latency_ms=None)


def _difference(
    plugin: CallingPlugin, request: JsonObject, row_index: int | None, recorded: Exchange, received: Exchange
) -> Difference | None:
    hashes = _hash(plugin, recorded.response), _hash(plugin, received.response)
    if hashes[0] == hashes[1]:
        return None
    return Difference(
        row_index=row_index, request_hash=stable_hash(request), recorded_hash=hashes[0], received_hash=hashes[1]
    )


def _hash(plugin: CallingPlugin, response: JsonObject | None) -> str | None:
    if response is None:
        return None
    try:
        return stable_hash(plugin.comparable(response))
    except Exception:  # noqa: BLE001  this version of the plugin may not understand a recorded answer
        return stable_hash(response)
