"""Calls that are answered from a recorded run: nothing outside is asked."""

from __future__ import annotations

import json
from collections import Counter, OrderedDict
from collections.abc import Mapping
from concurrent.futures import Future
from itertools import groupby

from elspeth.contracts.audit import Call
from elspeth.contracts.plugins import CallError, JsonObject
from elspeth.core.canonical import stable_hash
from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.queries.recorded_calls import calls_of_rows
from elspeth.core.landscape.queries.select_run import resolve_run
from elspeth.core.payload_store import IntegrityError, PayloadStore
from elspeth.engine.calls.exchange import Attempt, Exchange, described
from elspeth.plugins.base import CallingTransform

__all__ = ["ReplayCaller"]

_WINDOW_ROWS = 256
_WINDOWS = 8  # rows are asked for in the order of the source, save those that waited in a batch or for a branch

_Key = tuple[int, str]
_Window = Mapping[_Key, list[list[Call]]]


class ReplayCaller:
    """Answers each request with what it was answered with for the same source row, failed attempts included.

    What was asked several times for a row is answered in the recorded order. RunNotFoundError for an unknown run.
    """

    def __init__(self, db: LandscapeDB, payloads: PayloadStore, source_run_id: str) -> None:
        self._db = db
        self._payloads = payloads
        self._run_id = resolve_run(db, source_run_id)
        self._windows: OrderedDict[int, _Window] = OrderedDict()
        self._answered: Counter[_Key] = Counter()

    def start(self, plugin: CallingTransform, request: JsonObject, *, row_index: int) -> Future[Exchange]:  # noqa: ARG002  whoever asks
        """The recorded answer, at once. What was not recorded, or not kept, is a failure."""
        future: Future[Exchange] = Future()
        future.set_result(self.answer(request, row_index=row_index))
        return future

    def answer(self, request: JsonObject, *, row_index: int) -> Exchange:
        """What was recorded for a request."""
        key = (row_index, stable_hash(request))
        recorded = self._window(row_index).get(key, [])
        number = self._answered[key]
        if number >= len(recorded):
            problem = CallError(f"run {self._run_id} has no recorded answer to this request", is_retryable=False)
            return Exchange(attempts=(_failed(request, problem),))
        if len(recorded) > 1:
            self._answered[key] += 1
        return Exchange(attempts=tuple(self._attempt(call, request) for call in recorded[number]))

    def close(self) -> None:
        """Nothing is under way."""

    def _window(self, row_index: int) -> _Window:
        """The recorded calls around a row: by row and request, a list of calls for each node state that asked."""
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

    def _attempt(self, call: Call, request: JsonObject) -> Attempt:
        error = None if call.error_json is None else json.loads(call.error_json)
        if call.response_hash is None:
            return Attempt(request=request, response=None, error=error, latency_ms=call.latency_ms)
        try:
            response = self._response(call)
        except CallError as problem:
            if error is None:
                return _failed(request, problem)
            response = None  # the call failed then as now, whatever came with it
        return Attempt(request=request, response=response, error=error, latency_ms=call.latency_ms)

    def _response(self, call: Call) -> JsonObject:
        """What the call answered; CallError if it is not kept, or is not what was recorded."""
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


def _failed(request: JsonObject, problem: CallError) -> Attempt:
    return Attempt(request=request, response=None, error=described(problem), latency_ms=None)
