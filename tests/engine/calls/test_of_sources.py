"""Runs over a source that calls a server."""

from __future__ import annotations

import json
import shutil
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from elspeth.cli.program import main
from elspeth.contracts.enums import CallType
from elspeth.contracts.plugins import JsonObject, PluginError
from elspeth.core.canonical import stable_hash
from elspeth.engine.calls.exchange import Attempt, Exchange
from elspeth.engine.calls.of_sources import SourceCalls
from elspeth.engine.errors import ResumeError, RunInterruptedError
from elspeth.engine.reporting import Observer
from elspeth.objects.errors import ObjectStoreError
from tests.engine.killing import begin_killed_run, work
from tests.engine.pipelines import (
    Records,
    Settings,
    build,
    execute,
    graph_settings,
    groups_of,
    run_graph,
    trail,
    written,
)
from tests.fixtures.llm_server import Answer, LlmServer, answers, hangs, hangs_up, llm_server
from tests.fixtures.object_store import Bucket, Failure
from tests.fixtures.workers import InlineWorkers

QUICK = {"initial_delay_seconds": 0.001, "max_delay_seconds": 0.01, "max_attempts": 3}
ROWS = [{"id": number} for number in range(1, 7)]


def page(number: int, *, last: int = 3) -> Answer:
    """Answer with two rows and a link."""
    link = {"Link": f"<?page={number + 1}>; rel=next", "ETag": f'"{number}"'} if number < last else {}
    rows = ROWS[2 * number - 2 : 2 * number]
    return answers(200, json.dumps(rows).encode(), link)


def settings(directory: Path, server: LlmServer, **sections: object) -> Settings:
    options = {"url": f"{server.url}/orders", "allowed_networks": ["127.0.0.0/8"], "next_page": "link"}
    sections = {"retry": QUICK, "payload_store": {"base_path": str(directory / "payloads")}, **sections}
    return graph_settings(directory, [], datasource={"plugin": "http", "options": options}, **sections)


@pytest.fixture
def server() -> Iterator[LlmServer]:
    with llm_server(page(1), page(2), page(3)) as running:
        yield running


def calls(records: Records) -> list[tuple[int, str]]:
    """Return the calls of sources in their order."""
    begun = {each["operation_id"]: each["started_at"] for each in records["operation"]}
    found = sorted(records.get("call", []), key=lambda each: (begun[each["operation_id"]], each["call_index"]))
    return [(each["call_index"], each["status"]) for each in found]


def paths(server: LlmServer) -> list[str]:
    return [each.path.removeprefix("/v1/orders") for each in server.received]


def test_pages_are_recorded_as_calls_and_inputs_and_replayed_without_a_server(
    tmp_path: Path, server: LlmServer, database_url: str
) -> None:
    late = answers(429, headers={"Retry-After": "0"})
    server.script = deque([late, answers(503), page(1), hangs_up, page(2), page(3)])
    chosen = settings(tmp_path, server, landscape={"url": database_url})
    result, records = run_graph(tmp_path, chosen)
    assert written(tmp_path, "out") == ROWS
    statuses = ["error", "error", "success", "error", "success", "success"]
    assert calls(records) == list(enumerate(statuses))
    assert (result.calls, result.retries) == (6, 3)
    assert [each for each in records["call"] if each["latency_ms"] is None] == []
    inputs = sorted(records["source_input"], key=lambda each: each["ordinal"])
    assert [(each["input_type"], each["object_version"], each["row_count"]) for each in inputs] == [
        ("http", '"1"', 2),
        ("http", '"2"', 2),
        ("http", None, 2),
    ]
    assert inputs[2]["path_or_uri"] == f"{server.url}/orders?page=3"
    output = (tmp_path / "out.jsonl").read_bytes()
    again, records = run_graph(tmp_path, {**chosen, "run_mode": "replay", "replay_source_run_id": result.run_id})
    assert (calls(records), (tmp_path / "out.jsonl").read_bytes()) == (list(enumerate(statuses)), output)
    assert (again.calls, again.retries, len(server.received)) == (6, 3, 6)


@pytest.mark.parametrize("rows", [2, 500], ids=["after a commit", "with the first commit"])
def test_the_failed_call_that_ended_a_run_is_recorded(
    tmp_path: Path, server: LlmServer, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    groups_of(monkeypatch, rows)
    server.script = deque([page(1), *[answers(500)] * 3])
    with pytest.raises(PluginError) as raised:
        execute(build(tmp_path, settings(tmp_path, server)))
    assert str(raised.value) == (
        f"{server.url}/orders?page=2 cannot be read: the server answered 500 Internal Server Error (3 attempts)"
    )
    records = trail(tmp_path)
    assert [status for _, status in calls(records)] == ["success", "error", "error", "error"]
    assert not (tmp_path / "out.jsonl").exists()
    run_id = records["run"][0]["run_id"]
    replay = settings(tmp_path, server, run_mode="replay", replay_source_run_id=run_id)
    with pytest.raises(PluginError, match=r"page=2 cannot be read: the server answered 500 .+ \(3 attempts\)"):
        execute(build(tmp_path, replay))
    server.script = deque([page(2), page(3)])
    work(build(tmp_path, settings(tmp_path, server)), lambda each: each.resume(run_id))
    asked = len(server.received)
    execute(build(tmp_path, replay))  # of the attempts of both processes, the answers count
    assert (written(tmp_path, "out"), len(server.received)) == (ROWS, asked)


@pytest.mark.parametrize(("before", "counted"), [([], ""), ([answers(500)], " (2 attempts)")], ids=["one", "two"])
def test_a_single_attempt_is_not_counted(tmp_path: Path, server: LlmServer, before: list[Answer], counted: str) -> None:
    server.script = deque([*before, answers(404)])
    with pytest.raises(PluginError) as raised:
        execute(build(tmp_path, settings(tmp_path, server)))
    assert str(raised.value) == f"{server.url}/orders cannot be read: the server answered 404 Not Found{counted}"


def test_contents_of_recorded_calls_are_stored_even_if_the_store_failed(
    tmp_path: Path, server: LlmServer, bucket: Bucket
) -> None:
    bucket.server.fail(Failure(method="PUT", code="InternalError"))
    with pytest.raises(ObjectStoreError):
        execute(build(tmp_path, settings(tmp_path, server, payload_store={"base_path": bucket.url("payloads")})))
    recorded = trail(tmp_path)["call"]
    assert len(recorded) == 3
    named = {reference for each in recorded for reference in (each["request_ref"], each["response_ref"])}
    assert named <= {key.rpartition("/")[2] for key in bucket.listed()}


def test_answers_that_differ_from_the_recorded_ones_end_a_run(tmp_path: Path, server: LlmServer) -> None:
    result, _ = run_graph(tmp_path, settings(tmp_path, server))
    verify = settings(tmp_path, server, run_mode="verify", replay_source_run_id=result.run_id)
    replay = {**settings(tmp_path, server), "run_mode": "replay", "replay_source_run_id": result.run_id}
    replay["datasource"]["options"]["url"] += "?other"
    with pytest.raises(PluginError, match=f"run {result.run_id} has no recorded answer to this request"):
        execute(build(tmp_path, replay))
    assert len(server.received) == 3
    server.script = deque([page(1), page(2), page(3)])
    execute(build(tmp_path, verify), workers=InlineWorkers())
    assert written(tmp_path, "out") == ROWS
    assert calls(trail(tmp_path)) == [(0, "success"), (1, "success"), (2, "success")]
    server.script = deque([page(1), page(3)])
    with pytest.raises(
        PluginError, match="page=2 cannot be read: the answer is not the recorded one: expected SHA-256 "
    ):
        execute(build(tmp_path, verify))


@pytest.mark.parametrize("is_purged", [False, True])
def test_a_resumed_run_reads_the_answers_that_it_had_received(
    tmp_path: Path, server: LlmServer, monkeypatch: pytest.MonkeyPatch, *, is_purged: bool
) -> None:
    groups_of(monkeypatch, 3)
    run_id = begin_killed_run(build(tmp_path, settings(tmp_path, server)), tmp_path, 6)
    records = trail(tmp_path)
    assert (len(records["row"]), len(records["call"])) == (3, 2)
    asked, needed = len(server.received), ["?page=3"]
    server.script = deque([page(3)])  # the server has no answer to any other request
    if is_purged:
        shutil.rmtree(tmp_path / "payloads")
        changed = answers(200, b'[{"id": 0}]', {"Link": "<?page=2>; rel=next"})
        server.script, needed = deque([changed, page(1), page(2), page(3)]), ["", "", "?page=2", "?page=3"]
        with pytest.raises(ResumeError, match=r"is not what run \w+ read"):
            work(build(tmp_path, settings(tmp_path, server)), lambda each: each.resume(run_id))
    work(build(tmp_path, settings(tmp_path, server)), lambda each: each.resume(run_id))
    assert written(tmp_path, "out") == ROWS
    assert paths(server)[asked:] == needed
    records = trail(tmp_path)
    assert [status for _, status in calls(records)] == ["success"] * (2 + len(needed))
    assert [each["row_count"] for each in sorted(records["source_input"], key=lambda each: each["ordinal"])] == [
        2,
        2,
        2,
    ]


class Calls:
    """The records of calls, and the means to make them.

    A recorded run has no answers.
    """

    def __init__(self) -> None:
        self.recorded: list[object] = []
        self.payloads = self.caller = self

    def answer(self, *_: object, **__: object) -> Exchange:
        return Exchange(attempts=(Attempt(request={}, response=None, error={"exception": "no"}, latency_ms=None),))

    def start(self, _: object, request: JsonObject, **__: object) -> Future[Exchange]:
        future: Future[Exchange] = Future()
        attempt = Attempt(request=request, response={"said": request["asked"]}, error=None, latency_ms=1.0)
        future.set_result(Exchange(attempts=(attempt,)))
        return future

    def note_usage(self, *_: object) -> None:
        """Every call is free."""

    def store(self, content: bytes) -> str:
        return stable_hash(content.decode())

    def record_operation_call(self, *arguments: Any, **_: object) -> None:  # noqa: ANN401  one is read
        self.recorded.append(json.loads(arguments[3].text)["asked"])

    def get_operation_calls(self, *_: object, **__: object) -> list[object]:
        return self.recorded


@pytest.mark.parametrize("took_effect", [False, True])
def test_calls_are_recorded_once_whether_or_not_the_failed_commit_took_effect(
    monkeypatch: pytest.MonkeyPatch, *, took_effect: bool
) -> None:
    """Commits before it recorded other calls."""
    calls: Any = Calls()
    source: Any = SimpleNamespace(call_type=CallType.HTTP)
    monkeypatch.setattr("elspeth.engine.calls.of_sources.ReplayCaller", lambda *_, **__: calls)
    made = SourceCalls(source, calls, calls, calls, run_id="r", node_id="n", operation_id="o", check=lambda: None)
    for asked in ([1, 2], [3]):
        for each in asked:
            assert source.caller({"asked": each}, None) == {"said": each}
        made.record()
        made.settle()
    for each in (4, 5):
        source.caller({"asked": each}, None)
    if took_effect:
        made.record()
    made.record_rest()
    made.record_rest()
    assert calls.recorded == [1, 2, 3, 4, 5]


def test_waiting_for_an_answer_can_be_interrupted(tmp_path: Path, server: LlmServer) -> None:
    server.script = deque([hangs])
    observer = Observer(is_stopped=lambda: len(server.received) > 0)
    with pytest.raises(RunInterruptedError, match="was interrupted after 0 rows"):
        execute(build(tmp_path, settings(tmp_path, server)), observer)


def test_all_attempts_together_have_a_deadline(tmp_path: Path, server: LlmServer) -> None:
    server.script = deque([hangs])
    chosen = settings(tmp_path, server)
    chosen["datasource"]["options"]["deadline_seconds"] = 0.1
    with pytest.raises(PluginError, match=r"orders cannot be read: no answer within 0\.\d+ seconds, all attempts incl"):
        execute(build(tmp_path, chosen))


def test_settings_are_validated_without_asking_the_server(
    tmp_path: Path, server: LlmServer, capsys: pytest.CaptureFixture[str]
) -> None:
    build(tmp_path, settings(tmp_path, server))
    assert main(["validate", "-s", str(tmp_path / "settings.yaml")]) == 0
    assert (capsys.readouterr().err.endswith(": valid\n"), server.received) == (True, [])
