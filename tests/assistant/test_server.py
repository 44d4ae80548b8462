"""Tools for assistants, called by the protocol's own client."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from mcp import Client
from mcp.client.stdio import StdioServerParameters
from mcp.types import TextContent

import elspeth
from elspeth.api.reading import AuditedRun, AuditTrail
from elspeth.assistant import server
from elspeth.assistant.server import build_server
from elspeth.cli.program import main
from elspeth.core.differences import Difference
from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.queries import comparison
from elspeth.core.landscape.queries.story.model import story_json
from elspeth.evidence.format.signatures import PUBLIC_KEY
from tests.fixtures.example_runs import ExampleRun
from tests.fixtures.told_run import record_told_run

TOOLS = [
    *("compare_runs", "describe_run", "describe_tables", "explain_row", "find_rows", "list_runs", "query"),
    "why_rows_failed",
]


@pytest.fixture(scope="module")
def database(example_run: ExampleRun) -> Path:
    return example_run("error_routing").database


@pytest.fixture(scope="module")
def bag(database: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("evidence") / "run.bag"
    assert main(["export", "latest", "-d", str(database), "--format", "bag", "-o", str(path)]) == 0
    return path


@pytest.fixture(scope="module", params=["database", "bag"])
def place(request: pytest.FixtureRequest, database: Path, bag: Path) -> Path:
    return {"database": database, "bag": bag}[request.param]


def ask(place: Path, tool: str, **arguments: object) -> dict[str, Any]:
    """Return the answer of a tool, or its error."""
    return answer_of(place, tool, arguments)


def answer_of(place: Path, tool: str, arguments: dict[str, Any], key: Path | None = None) -> dict[str, Any]:
    """Return what a server with a public key answers."""

    async def asking() -> dict[str, Any]:
        with elspeth.open(place) as trail:
            async with Client(build_server(trail, bag=place, key=key)) as client:
                result = await client.call_tool(tool, arguments)
        [content] = result.content
        assert isinstance(content, TextContent)
        told: dict[str, Any] = {"error": content.text} if result.is_error else dict(result.structured_content or {})
        return told

    return asyncio.run(asking())


def test_the_tools_are_declared_read_only(place: Path) -> None:
    async def listing() -> list[Any]:
        with elspeth.open(place) as trail:
            async with Client(build_server(trail, bag=place)) as client:
                return list((await client.list_tools()).tools)

    tools = asyncio.run(listing())
    offered = sorted(tool.name for tool in tools)
    assert offered == sorted([*TOOLS, *(["verify_evidence"] if place.suffix == ".bag" else [])])
    assert all(tool.annotations.read_only_hint and tool.description for tool in tools)


def test_a_row_is_explained_as_by_the_command(place: Path) -> None:
    with elspeth.open(place) as trail:
        expected = json.loads(story_json(trail.run().explain(1)))
    assert ask(place, "explain_row", row=1) == expected


def test_runs_are_listed_and_described(place: Path) -> None:
    (run,) = ask(place, "list_runs")["runs"]
    described = ask(place, "describe_run", run=run["run_id"][:9])
    assert described["run"]["run_id"] == run["run_id"]
    assert described["run"]["status"] == run["status"] == "completed"
    assert described["settings"] != {}
    assert [each["path"] for each in described["outputs"]] != []


def test_the_newest_runs_are_listed_without_long_values(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (listed,) = ask(database, "list_runs")["runs"]
    assert "settings_json" not in listed
    with elspeth.open(database) as trail:
        (record,) = trail.run_records()
        assert trail.run_records(newest=0) == []
        assert listed["config_hash"] == record.config_hash
    many = [dataclasses.replace(record, run_id=f"run-{number}") for number in range(60)]
    monkeypatch.setattr(AuditTrail, "run_records", lambda _, newest: many[-newest:])
    told = ask(database, "list_runs")
    assert ([each["run_id"] for each in told["runs"]][::49], told["is_cut"]) == (["run-10", "run-59"], True)
    told = ask(database, "list_runs", limit=60)
    assert (len(told["runs"]), told["is_cut"]) == (60, False)


def test_the_outputs_of_a_run_are_bounded(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    described = ask(place, "describe_run")
    assert (len(described["outputs"]) > 1, described["is_cut"]) == (True, False)
    monkeypatch.setattr(server, "_MOST_PARTS", len(described["outputs"]))
    assert not ask(place, "describe_run")["is_cut"]
    monkeypatch.setattr(server, "_MOST_PARTS", 1)
    assert ask(place, "describe_run")["outputs"] == described["outputs"][:1]
    assert ask(place, "describe_run")["is_cut"]


def test_contents_of_failed_rows_are_not_returned(place: Path) -> None:
    told = ask(place, "query", sql="SELECT row_data_json FROM transform_errors")
    assert "transform_errors.row_data_json is prohibited" in told["error"]
    assert "row_data_json" not in ask(place, "describe_tables")["transform_errors"]["columns"]


@pytest.mark.postgres
def test_sql_on_postgresql_is_only_offered_on_request(postgresql_url: str) -> None:
    LandscapeDB(postgresql_url).close()
    with elspeth.open(postgresql_url) as trail:
        servers = [build_server(trail), build_server(trail, all_sql=True)]
        offered = [[tool.name for tool in asyncio.run(each.list_tools())] for each in servers]
    assert [("query" in tools, "describe_tables" in tools) for tools in offered] == [(False, True), (True, True)]


def test_failed_rows_are_counted_by_reason(place: Path) -> None:
    with elspeth.open(place) as trail:
        failed = trail.run().failures()
        rows = [each.row for each in trail.run().rows(outcome="failed")]
    told = ask(place, "why_rows_failed")
    assert told["rows_with_failures"] == failed.count > 0
    assert [each["message"] for each in told["reasons"]] == [each.message for each in failed.reasons]
    found = ask(place, "find_rows", outcome="failed", limit=1)
    assert ([each["row"] for each in found["rows"]], found["is_cut"]) == (rows[:1], len(rows) > 1)
    assert not ask(place, "find_rows", outcome="failed", limit=len(rows))["is_cut"]


@pytest.mark.parametrize("selection", [{"sink": "high"}, {"step": "field_mapper_1"}, {"reason": "confidential"}])
def test_rows_are_found_by_sink_step_and_reason(database: Path, selection: dict[str, str]) -> None:
    with elspeth.open(database) as trail:
        every = len(list(trail.run().rows()))
        expected = [each.row for each in trail.run().rows(**selection)]
    assert 0 < len(expected) < every
    assert [each["row"] for each in ask(database, "find_rows", **selection)["rows"]] == expected


def test_omitted_reasons_are_counted(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with elspeth.open(database) as trail:
        failed = trail.run().failures()
    monkeypatch.setattr(AuditedRun, "failures", lambda _: dataclasses.replace(failed, all_reasons=1000))
    assert ask(database, "why_rows_failed")["further_reasons"] == 1000 - len(failed.reasons)


def test_each_tool_uses_the_named_run(tmp_path: Path) -> None:
    place = tmp_path / "audit.db"
    with LandscapeDB(f"sqlite:///{place}") as db:
        for run_id in ("first", "second"):
            record_told_run(db, run_id)
    for tool in ("why_rows_failed", "find_rows"):
        assert ask(place, tool, run="first")["run_id"] == "first"
    assert ask(place, "explain_row", run="first", row=0)["run_id"] == "first"
    told = ask(place, "compare_runs", first="second", second="first")
    assert (told["first"], told["second"]) == ("second", "first")


def test_two_runs_are_compared(place: Path) -> None:
    told = ask(place, "compare_runs", first="latest")
    assert (told["settings"], told["counts"], told["rows"]) == ([], [], [])


def test_differences_are_bounded(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = comparison.DifferingRow(row=7, differs=("content",), first=None, second=None, answers=())
    monkeypatch.setattr(comparison, "compare_rows", lambda *_: iter([row] * 3))
    for limit, is_cut in ((2, True), (3, False)):
        told = ask(database, "compare_runs", first="latest", limit=limit)
        assert (len(told["rows"]), told["is_cut"]) == (limit, is_cut)
    monkeypatch.setattr(server, "_MOST_PARTS", 1)
    for name in ("settings", "steps"):
        with monkeypatch.context() as patch:
            patch.setattr(comparison, f"compare_{name}", lambda *_: [Difference("a", 1, 2)] * 2)
            told = ask(database, "compare_runs", first="latest")
        assert (len(told[name]), told["is_cut"]) == (1, True)


def test_tables_are_described_and_can_be_queried(place: Path) -> None:
    assert "token_id" in ask(place, "describe_tables")["tokens"]["columns"]
    told = ask(place, "query", sql="SELECT count(*) AS number, min(row_index) FROM rows WHERE ':x' <> '%s'")
    assert (told["dialect"], told["columns"][0], told["rows"][0][1]) == ("sqlite", "number", 0)


def test_evidence_is_verified(bag: Path, key_directory: Path) -> None:
    told = ask(bag, "verify_evidence")
    assert told["verdict"] == "CONSISTENT BUT UNSIGNED"
    assert len(told["steps"]) > 5
    assert answer_of(bag, "verify_evidence", {}, key_directory / PUBLIC_KEY)["verdict"] == "NOT VERIFIED"


@pytest.mark.parametrize(
    ("tool", "arguments", "problem"),
    [
        ("describe_run", {"run": "nowhere"}, "nowhere"),
        ("explain_row", {"row": 10_000}, "10000"),
        ("find_rows", {"outcome": "lost"}, "lost"),
        ("query", {"sql": "SELEC"}, "the query is refused"),
        ("find_rows", {"limit": 0}, "limit"),
    ],
)
def test_bad_arguments_are_explained(place: Path, tool: str, arguments: dict[str, object], problem: str) -> None:
    assert problem in ask(place, tool, **arguments)["error"]


def test_an_answer_that_is_too_long_is_an_error(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    size = len(json.dumps(ask(place, "list_runs")))
    monkeypatch.setattr(server, "_MOST_CHARACTERS", size)
    assert "runs" in ask(place, "list_runs")
    monkeypatch.setattr(server, "_MOST_CHARACTERS", size - 1)
    problem = f"the answer is longer than {size - 1} characters: ask for less"
    assert ask(place, "list_runs")["error"].endswith(problem)


def test_the_command_serves_over_standard_input_and_output(database: Path) -> None:
    async def asking() -> Any:  # noqa: ANN401  an answer of the protocol
        command = StdioServerParameters(command=sys.executable, args=["-m", "elspeth", "mcp", str(database)])
        async with Client(command) as client:
            return (await client.call_tool("list_runs")).structured_content

    assert len(asyncio.run(asking())["runs"]) == 1


def test_the_command_names_what_it_cannot_serve(
    capsys: pytest.CaptureFixture[str], database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["mcp", "nowhere.db"]) != 0
    assert "nowhere.db" in capsys.readouterr().err
    assert main(["mcp", str(database), "--key", "nowhere.pem"]) != 0
    assert "nowhere.pem" in capsys.readouterr().err
