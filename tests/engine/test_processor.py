"""Rows that are under way at the same time."""

import concurrent.futures
import threading
from collections.abc import Iterable
from concurrent.futures import Future
from pathlib import Path
from typing import Any, cast

import pytest

from elspeth.contracts.enums import RoutingMode
from elspeth.contracts.plugins import JsonObject, RowError
from elspeth.contracts.rows import RowData
from elspeth.core.settings.wiring import Place, Wire
from elspeth.engine import walks as walks_module
from elspeth.engine.calls.exchange import Exchange
from elspeth.engine.cut import Cut
from elspeth.engine.steps import Step
from elspeth.engine.tokens import Branch, Departure, LiveToken, Onward
from elspeth.engine.walks import Walks
from tests.engine.drawn import AskTransform
from tests.engine.pipelines import graph_settings, run_graph

ASK: Place = ("row_plugins", 0)
BRANCH = Branch(name="a", group="g", join=("coalesce", 0))


class Asking(Step):
    """A step that waits for an answer to each token."""

    def __init__(self) -> None:
        self.answers: dict[str, Future[Exchange]] = {}
        self.taken: list[str] = []

    def expect(self, token: LiveToken) -> None:
        """Begin to wait."""
        self.answers[token.token_id] = Future()

    def pending(self, token: LiveToken) -> Future[Exchange]:
        """Return the answer to come."""
        return self.answers[token.token_id]

    def take(self, token: LiveToken, along: Wire) -> Onward:  # noqa: ARG002  there is one
        """Note the token."""
        self.taken.append(token.token_id)
        return []


class CountedTransform(AskTransform):
    """A transform that counts the rows under way.

    It answers only when the run waits for answers.
    """

    name = "counted"
    waiting = threading.Event()
    under_way = 0
    most = 0

    def request(self, row: RowData) -> JsonObject | RowError:
        """Count a row that begins."""
        CountedTransform.under_way += 1
        CountedTransform.most = max(CountedTransform.most, CountedTransform.under_way)
        return super().request(row)

    def send(self, request: JsonObject) -> JsonObject:
        """Answer when the run begins no more rows."""
        assert CountedTransform.waiting.wait(30)
        return super().send(request)

    def result(self, row: RowData, response: JsonObject) -> RowData | RowError:
        """Count a row that ends."""
        CountedTransform.under_way -= 1
        return super().result(row, response)


def test_at_most_four_rows_per_worker_are_under_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def wait(*arguments: Any, **options: Any) -> object:  # noqa: ANN401  passed on
        CountedTransform.waiting.set()
        return concurrent.futures.wait(*arguments, **options)

    monkeypatch.setattr(walks_module, "wait", wait)
    monkeypatch.setattr(CountedTransform, "most", 0)
    settings = graph_settings(
        tmp_path,
        [{"id": number} for number in range(40)],
        row_plugins=[{"plugin": "counted", "options": {"field": "answer"}}],
        concurrency={"max_workers": 2},
    )
    result, _ = run_graph(tmp_path, settings, CountedTransform)
    assert result.rows_by_sink == {"out": 40}
    assert CountedTransform.most == 8


def test_an_answer_that_waits_for_its_turn_is_awaited_only_once(monkeypatch: pytest.MonkeyPatch) -> None:
    step = Asking()
    walks = Walks({ASK: step}, 2, Cut(ordered=frozenset(), behind={ASK: frozenset({("coalesce", 0)})}))
    wire = Wire(origin=("source",), label="continue", target=ASK, mode=RoutingMode.MOVE)
    for token_id in ("older", "younger"):
        token = LiveToken(token_id=token_id, row_id="r", row_index=0, row={}, row_hash="h", branches=(BRANCH,))
        walks.begin([Departure(token, wire)])
    waits: list[list[Future[Exchange]]] = []

    def wait(futures: Iterable[Future[Exchange]], **_: object) -> None:
        waits.append(list(futures))
        step.answers["older"].set_result(cast("Exchange", None))

    monkeypatch.setattr(walks_module, "wait", wait)
    step.answers["younger"].set_result(cast("Exchange", None))
    walks.settle()
    assert waits == [[step.answers["older"]]]
    assert step.taken == ["older", "younger"]
