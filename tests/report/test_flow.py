"""Tokens counted on nodes and edges."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from sqlalchemy import Connection, event

from elspeth.contracts.rows import RowData
from elspeth.core.landscape.database import LandscapeDB
from elspeth.core.landscape.exporting.exporter import LandscapeExporter
from elspeth.engine.errors import RunInterruptedError
from elspeth.engine.reporting import Observer
from elspeth.report.flow import Flow, read_flow
from elspeth.report.overview import read_overview
from elspeth.report.records import open_database_records
from elspeth_schema.contracts import RoutingMode
from tests.engine.pipelines import PLUGINS, build, execute, graph_settings, groups_of, run_graph, trail
from tests.fixtures.landscapes import NewLandscape
from tests.fixtures.told_run import record_told_run
from tests.report.flows import assert_counted, flow_of

ROWS: list[RowData] = [{"id": number, "v": number} for number in range(6)]


@pytest.fixture
def told(new_landscape: NewLandscape) -> Iterator[tuple[LandscapeDB, str]]:
    with new_landscape() as database:
        run_id = record_told_run(database).run_id
        yield database, run_id


def edges_of(flow: Flow) -> dict[tuple[str, str, str], int]:
    """Return the counts of edges by names and label."""
    names = {node.node_id: node.name for node in flow.nodes}
    return {(names[each.from_node_id], names[each.to_node_id], each.label): each.count for each in flow.edges}


def test_the_numbers_of_every_kind_of_step_are_those_of_the_records(told: tuple[LandscapeDB, str]) -> None:
    database, run_id = told
    records = LandscapeExporter(database).export_run_grouped(run_id)
    with database.snapshot() as connection:
        flow = read_flow(connection, run_id)
    assert_counted(flow, records, has_all_edges=False)
    assert flow.strays > 0, "the fixture has an edge for few of its steps"
    assert edges_of(flow)["source", "gate", "continue"] > 0


def test_several_edges_between_two_nodes_have_their_own_numbers(tmp_path: Path) -> None:
    settings = graph_settings(
        tmp_path,
        ROWS,
        "s1",
        gates=[
            {
                "name": "size",
                "condition": "'low' if row['v'] < 2 else 'middle' if row['v'] < 5 else 'high'",
                "routes": {"low": "s1", "middle": "s1", "high": "out"},
            },
        ],
    )
    _, records = run_graph(tmp_path, settings)
    flow = flow_of(settings["landscape"]["url"], records["run"][0]["run_id"])
    assert_counted(flow, records)
    counts = edges_of(flow)
    assert counts["size", "s1", "low"] == 2
    assert counts["size", "s1", "middle"] == 3
    assert counts["size", "out", "high"] == 1


def test_a_row_that_fails_on_its_way_to_the_same_sink_goes_along_the_other_edge(tmp_path: Path) -> None:
    mark = {"plugin": "mark", "options": {"field": "m", "value": 1, "fail": [1, 2], "on_error": "out"}}
    settings = graph_settings(tmp_path, ROWS, row_plugins=[mark])
    _, records = run_graph(tmp_path, settings)
    flow = flow_of(settings["landscape"]["url"], records["run"][0]["run_id"])
    assert_counted(flow, records)
    modes = {edge.mode: edge.count for edge in flow.edges if edge.to_node_id.startswith("sink_out")}
    assert modes == {RoutingMode.MOVE: 4, RoutingMode.DIVERT: 2}


def test_tokens_of_an_interrupted_run_wait_where_they_were(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    groups_of(monkeypatch, 1)
    settings = graph_settings(
        tmp_path,
        ROWS,
        aggregations=[
            {"name": "sums", "plugin": "batch_stats", "trigger": {"count": 4}, "options": {"value_field": "v"}}
        ],
    )
    polls = iter(range(100))
    observer = Observer(is_stopped=lambda: next(polls) > 1)
    with pytest.raises(RunInterruptedError):
        execute(build(tmp_path, settings, *PLUGINS), observer)
    records = trail(tmp_path, settings["landscape"]["url"])
    flow = flow_of(settings["landscape"]["url"], records["run"][0]["run_id"])
    assert_counted(flow, records)
    assert sum(node.waiting for node in flow.nodes) > 0


def test_nothing_is_looked_up_without_an_index(tmp_path: Path) -> None:
    """Else the time grows with the square of the rows."""
    settings = graph_settings(
        tmp_path,
        ROWS,
        "s1",
        row_plugins=[
            {"plugin": "mark", "branch": "a", "options": {"field": "m", "value": 1, "fail": [1], "on_error": "s1"}}
        ],
        gates=[
            {
                "name": "split",
                "condition": "True",
                "routes": {"true": "fork", "false": "continue"},
                "fork_to": ["a", "b"],
            }
        ],
        coalesce=[{"name": "join", "branches": ["a", "b"], "policy": "require_all", "merge": "union"}],
    )
    run_graph(tmp_path, settings)
    found: list[str] = []

    def explain(
        connection: Connection, _cursor: object, statement: str, parameters: Sequence[object], *_: object
    ) -> None:
        plan = connection.connection.cursor()
        loops: dict[int, list[str]] = {}
        for _, parent, _, step in plan.execute(f"EXPLAIN QUERY PLAN {statement}", parameters).fetchall():
            if step.startswith(("SCAN", "SEARCH")):
                loops.setdefault(parent, []).append(step)
        # Of loops within each other, only the outermost may read everything.
        found.extend(step for each in loops.values() for step in each[1:] if step.startswith("SCAN"))

    url = settings["landscape"]["url"]
    with LandscapeDB.from_url(url, create_tables=False) as db, open_database_records(db, "latest") as records:
        event.listen(records.connection, "before_cursor_execute", explain)
        assert read_overview(records).counts["token"] > len(ROWS)
    assert found == []
