"""Tokens counted on nodes and edges."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

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
from elspeth_schema.contracts import (
    AuditRecord,
    Batch,
    BatchMember,
    BatchOutput,
    Edge,
    Node,
    NodeStateCompleted,
    NodeStateFailed,
    NodeType,
    RoutingEvent,
    RoutingMode,
    Row,
    Run,
    Token,
    TokenParent,
)
from tests.engine.pipelines import PLUGINS, build, execute, graph_settings, groups_of, run_graph, trail
from tests.fixtures.landscapes import NewLandscape
from tests.fixtures.rich_run import recorded, rich_run
from tests.fixtures.told_run import record_told_run
from tests.report.flows import assert_counted, flow_of

R = TypeVar("R", bound=AuditRecord)

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


def tokens_between_nodes(run_id: str = "run-1") -> list[AuditRecord]:
    """Return a run with several ways between two nodes.

    A fork of the second attempt made two tokens. Another token went on though its event names the way to a sink. Two
    tokens came out of a batch by name only: one was its member, of the other the name is that of an artifact.
    """
    found: dict[type, AuditRecord] = {type(each): each for each in reversed(rich_run(run_id))}

    def like(kind: type[R], **values: object) -> R:
        return replace(found[kind], **values)  # type: ignore[return-value,arg-type]

    sequences = {"node-1": 9, "node-2": None, "node-3": 0, "node-4": 5}
    types = [NodeType.SOURCE, NodeType.AGGREGATION, NodeType.SINK, NodeType.TRANSFORM]
    edges = {"edge-1": ("node-2", "b"), "edge-2": ("node-2", "a"), "edge-3": ("node-3", "c")}
    tokens = {"token-1": None, "token-2": "a", "token-3": "b", "token-4": None, "token-5": None}
    visits = [("token-1", "node-1", 0), ("token-4", "node-1", 0)]
    visits += [(token, "node-2", 1) for token in ("token-2", "token-3", "token-4")]
    return [
        like(Run),
        *(
            like(Node, node_id=node_id, node_type=node_type, sequence_in_pipeline=sequence)
            for (node_id, sequence), node_type in zip(sequences.items(), types, strict=True)
        ),
        *(like(Edge, edge_id=edge_id, to_node_id=to, label=label) for edge_id, (to, label) in edges.items()),
        like(Row),
        *(like(Token, token_id=token_id, row_id="row-b", branch_name=branch) for token_id, branch in tokens.items()),
        *(like(TokenParent, token_id=child, ordinal=0) for child in ("token-2", "token-3")),
        like(NodeStateFailed, state_id="first", token_id="token-1"),
        *(
            like(
                NodeStateCompleted,
                state_id=f"{token}-{step}",
                token_id=token,
                node_id=node_id,
                step_index=step,
                attempt=int(token == "token-1"),
            )
            for token, node_id, step in visits
        ),
        *(
            like(RoutingEvent, event_id=f"event-{edge_id}", state_id=state, edge_id=edge_id, mode=mode, ordinal=ordinal)
            for ordinal, (state, edge_id, mode) in enumerate(
                [
                    ("token-1-0", "edge-1", RoutingMode.COPY),
                    ("token-1-0", "edge-2", RoutingMode.COPY),
                    ("token-4-0", "edge-3", RoutingMode.MOVE),
                ]
            )
        ),
        like(Batch),
        like(BatchMember, token_id="token-4"),
        *(
            like(BatchOutput, batch_output_id=token, output_type=kind, output_id=token)
            for token, kind in (("token-4", "token"), ("token-5", "artifact"))
        ),
    ]


def test_each_of_several_ways_has_the_tokens_that_took_it(new_landscape: NewLandscape) -> None:
    other = [each for each in tokens_between_nodes("run-2") if isinstance(each, Run | Node | Edge)]
    elsewhere = {"edge-1": "node-4", "edge-2": "node-4", "edge-3": "node-2"}
    with new_landscape() as database:
        recorded(database, tokens_between_nodes())
        recorded(
            database,
            [replace(each, to_node_id=elsewhere[each.edge_id]) if isinstance(each, Edge) else each for each in other],
        )
        with database.snapshot() as connection:
            flow = read_flow(connection, "run-1")
    assert [(each.label, each.count) for each in flow.edges] == [("a", 2), ("b", 1), ("c", 0)]
    assert [node.node_id for node in flow.nodes] == ["node-1", "node-4", "node-2", "node-3"]
    assert {node.node_id: (node.began, node.made, node.left) for node in flow.nodes if node.came + node.made} == {
        "node-1": (3, 2, 3),
        "node-2": (0, 0, 0),
    }
    assert flow.strays == 0


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


def test_every_lookup_uses_an_index(tmp_path: Path) -> None:
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
        # Of nested loops, only the outermost may read everything.
        found.extend(step for each in loops.values() for step in each[1:] if step.startswith("SCAN"))

    url = settings["landscape"]["url"]
    with LandscapeDB.from_url(url, create_tables=False) as db, open_database_records(db, "latest") as records:
        event.listen(records.connection, "before_cursor_execute", explain)
        assert read_overview(records).counts["token"] > len(ROWS)
    assert found == []
