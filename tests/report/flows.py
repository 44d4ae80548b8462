"""The flow of a run, recounted from its exported records."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from itertools import pairwise

from elspeth.core.landscape.database import LandscapeDB
from elspeth.report.flow import Flow, read_flow
from tests.engine.pipelines import Records

__all__ = ["assert_counted", "flow_of"]


def flow_of(url: str, run_id: str) -> Flow:
    """Read the flow of a run from a database."""
    with LandscapeDB.from_url(url, create_tables=False) as db, db.snapshot() as connection:
        return read_flow(connection, run_id)


@dataclass(slots=True)
class _Recount:
    """Counts of records, by node or by pair of nodes."""

    came: Counter[str] = field(default_factory=Counter)
    made: Counter[str] = field(default_factory=Counter)
    steps: Counter[tuple[str, str]] = field(default_factory=Counter)
    stayed: defaultdict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))


def _recount(records: Records) -> _Recount:
    found = _Recount()
    ways: dict[str, list[str]] = {}
    for state in sorted(records.get("node_state", []), key=lambda each: (each["step_index"], each["attempt"])):
        way = ways.setdefault(f"{state['token_id']}", [])
        if state["attempt"] == 0:
            way.append(state["node_id"])
    links = sorted(records.get("token_parent", []), key=lambda each: each["parent_token_id"], reverse=True)
    parents = {each["token_id"]: each["parent_token_id"] for each in links}
    members = {(each["batch_id"], each["token_id"]) for each in records.get("batch_member", [])}
    batches = {each["batch_id"]: each["aggregation_node_id"] for each in records.get("batch", [])}
    makers = {child: ways[parent][-1] for child, parent in parents.items()}
    for output in records.get("batch_output", []):
        if output["output_type"] == "token" and (output["batch_id"], output["output_id"]) not in members:
            makers.setdefault(output["output_id"], batches[output["batch_id"]])
    ends = {each["token_id"]: each["outcome"] for each in records.get("token_outcome", []) if each["is_terminal"]}
    rows = {each["row_id"]: each["source_node_id"] for each in records.get("row", [])}
    sources = {each["token_id"]: rows[each["row_id"]] for each in records.get("token", [])}
    for token in (each["token_id"] for each in records.get("token", [])):
        way, maker = ways.get(token, []), makers.get(token)
        place = sources[token]
        found.came.update(way or ([] if maker else [place]))
        found.made.update([] if maker is None else [maker])
        found.steps.update(pairwise(way if maker is None else [maker, *way]))
        found.stayed[way[-1] if way else maker or place][ends.get(token, "waiting")] += 1
    return found


def assert_counted(flow: Flow, records: Records, *, has_all_edges: bool = True) -> None:
    """Assert that a flow has the records' numbers."""
    expected = _recount(records)
    steps: Counter[tuple[str, str]] = Counter()
    for edge in flow.edges:
        steps[edge.from_node_id, edge.to_node_id] += edge.count
    if has_all_edges:
        assert +steps == expected.steps
        assert flow.strays == 0
    assert steps.total() + flow.strays == expected.steps.total()
    for node in flow.nodes:
        stayed = expected.stayed[node.node_id]
        assert node.came == expected.came[node.node_id]
        assert node.made == expected.made[node.node_id]
        assert (node.node_id, {outcome.value: count for outcome, count in node.ended.items()}) == (
            node.node_id,
            {name: count for name, count in stayed.items() if name != "waiting"},
        )
        assert node.waiting == stayed["waiting"]
        assert node.entered == sum(count for (_, to), count in expected.steps.items() if to == node.node_id)
        assert node.left == sum(count for (origin, _), count in expected.steps.items() if origin == node.node_id)
        assert node.began == 0 or node.node_type == "source" or not has_all_edges
        # The law: what leaves a node is what entered it.
        assert node.began + node.entered + node.made == node.left + sum(node.ended.values()) + node.waiting
