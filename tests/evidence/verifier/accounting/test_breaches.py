"""Each breach of a law, with record and message."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from elspeth.evidence.format.laws import Law
from elspeth.evidence.verifier.accounting import _pipeline, _tokens
from elspeth.evidence.verifier.accounting.accountant import LEDGERS
from tests.evidence.accounts import (
    BEGAN,
    ENDED,
    MOMENT,
    TYPES,
    Trail,
    breaches,
    changed,
    checked,
    record_of,
    sha256,
    sound_trail,
)

Change = Callable[[Trail], object]

EARLIER, LATER = "2026-01-31T23:59:59.999999Z", "2026-02-01T00:00:02.000001Z"


def setting(record_type: str, key: str, **values: object) -> Change:
    """Set values of one record."""
    return lambda trail: record_of(trail, record_type, key).update(values)


def without(record_type: str, *keys: str) -> Change:
    """Leave out records."""

    def change(trail: Trail) -> None:
        for key in keys:
            trail[record_type].remove(record_of(trail, record_type, key))

    return change


def adding(record_type: str, like: str, **values: object) -> Change:
    """Add a record that is like another."""
    return lambda trail: trail[record_type].append({**record_of(trail, record_type, like), **values})


def all_of(*changes: Change) -> Change:
    return lambda trail: [change(trail) for change in changes]


def visit(token: str, step: int, node: str, **values: object) -> Change:
    """Add a visit."""
    own = {"state_id": f"{token}{step}", "token_id": token, "step_index": step, "node_id": node}
    return adding("node_state", "a2", **{**own, **values})


def event(state: str, edge: str, mode: str) -> Change:
    """Add a routing event."""
    return adding("routing_event", "a1 gate-out", event_id=f"{state} {edge}", state_id=state, edge_id=edge, mode=mode)


NODE = "expected its visits to follow each other along edges, got two that no edge connects"
STEP = "expected its visits to follow each other step by step, got a gap, or two at one step"
OUTCOME = "expected an outcome as the last visit shows it, at the node that the sink's name stands for"
CONSUMED = "expected a token that was consumed, and no other, to end at the node of the batch that it names"
MEMBER = "expected every member of a completed batch, and no other, to be consumed or to come out of it"
BEGIN = "expected it to begin one step behind what it came from, along an edge"
ORIGIN = "expected it to be sent by the source, to be made from others, or to come out of a batch"
GROUP = "expected one parent of each child of a fork or expansion, and some of a merged token"
ONE_PARENT = "expected one parent of all children of a fork or expansion, which became nothing else"
OTHER_GROUP = "expected no group of an outcome that is not about one, or is about another"
MERGE = "expected the merge whose parent it is, or one that it came too late for, got another"
ONE_WAY = "expected a visit to send its token one way, or copies of it along several"
ANOTHER_WAY = "expected it to go where it was sent, got another way"
NOT_MADE = "expected it to be made by one fork, one expansion or one merge"
NO_EDGE = "expected an edge that begins where its visit was, got"
RESULT = "expected the hash of the result: {} rows, and the artifact if there is one, got another"
OUTPUT = "expected a token of the run to come out of the batch, got one that is not in the bag"
OTHER_SINK = "expected an artifact of the sink that was visited, got one of another"
DECISION = "expected the decision of a gate to be recorded, got none"

CASES: dict[str, tuple[Change, list[str]]] = {
    # The law of batches, and what comes out of them.
    "a member of a completed batch that another consumed": (
        all_of(adding("batch_member", "sum d1", batch_id="wait")),
        [f"token d1: batches: {MEMBER}"],
    ),
    "a member of a batch that did not complete, consumed": (
        setting("batch", "sum", status="failed"),
        [f"token d1: batches: {MEMBER}"],
    ),
    "a member of a batch that did not complete, come out": (
        setting("batch", "wait", status="executing"),
        [f"token e: batches: {MEMBER}"],
    ),
    "a consumed token that is no member": (
        without("batch_member", "sum d2"),
        ["token d2: batches: expected a token that was consumed to be a member of the batch"],
    ),
    "a consumed token of another batch": (
        setting("token_outcome", "d2", batch_id="wait"),
        [f"token d2: batches: {MEMBER}"],
    ),
    "another outcome that names a batch": (
        all_of(setting("token_outcome", "e", batch_id="wait"), without("batch_output", "2")),
        [f"token e: batches: {CONSUMED}"],
    ),
    "a consumed token without a batch": (
        setting("token_outcome", "d2", batch_id=None),
        [f"token d2: batches: {MEMBER}"],
    ),
    "a consumed token at another node": (
        setting("batch", "sum", aggregation_node_id="meet"),
        [f"token d1: batches: {CONSUMED}"],
    ),
    "what came out does not exist": (
        setting("batch_output", "2", output_id="x"),
        [f"batch_output 2: batches: {OUTPUT}"],
    ),
    "a token out of two batches": (
        adding("batch_output", "1", batch_output_id="3", batch_id="wait"),
        ["token dn: origins: expected it to come out of one batch, got several"],
    ),
    "a token twice out of one batch": (
        adding("batch_output", "1", batch_output_id="3"),
        ["token dn: origins: expected it to come out of one batch, got several"],
    ),
    "a token out of a batch without an edge": (
        setting("batch", "sum", aggregation_node_id="meet"),
        [f"token d1: batches: {CONSUMED}"],
    ),
    "a batch at a node behind which no edge leads": (
        setting("batch", "sum", aggregation_node_id="out"),
        [f"token d1: batches: {CONSUMED}", f"token dn: origins: {BEGIN}"],
    ),
    # The law of readings.
    "a row of a transform": (
        setting("row", "a", source_node_id="work"),
        [
            "row a: readings: expected a source among the nodes of the run, got another",
            f"token a: origins: {ORIGIN}",
            f"operation source_load source: outputs: {RESULT.format(4)}",
        ],
    ),
    "a row of no node": (
        setting("row", "c", source_node_id="gone"),
        [
            "row c: readings: expected a source among the nodes of the run, got another",
            f"token c: origins: {ORIGIN}",
            f"operation source_load source: outputs: {RESULT.format(4)}",
        ],
    ),
    "a row that was not read": (
        without("node_state", "c0"),
        ["row c: readings: expected one visit to its source, got none", f"token c: origins: {ORIGIN}"],
    ),
    "a row that two tokens read": (
        all_of(
            adding("token", "a", token_id="a9"),
            adding("token_outcome", "a", outcome_id="a9", token_id="a9"),
            visit("a9", 0, "source"),
            visit("a9", 1, "gate"),
            visit("a9", 2, "out"),
            event("a91", "gate-out", "move"),
        ),
        [
            "row a: readings: expected one visit to its source, got more",
            f"operation sink_write out: outputs: {RESULT.format(5)}",
        ],
    ),
    # The law of visits.
    "a token without visits": (
        without("node_state", "bm4"),
        [
            "token bm: visits: expected a visit to a node, got none",
            f"token bm: origins: {BEGIN}",
            f"operation sink_write out: outputs: {RESULT.format(3)}",
        ],
    ),
    "a gap": (
        setting("node_state", "a2", step_index=3),
        [f"token a: visits: {STEP}", f"token a: routes: {ANOTHER_WAY}"],
    ),
    "two nodes at one step": (
        visit("a", 1, "work", state_id="x"),
        [f"token a: visits: {STEP}", f"token a: routes: {ANOTHER_WAY}"],
    ),
    "no edge": (
        without("edge", "gate-out"),
        [
            f"token a: visits: {NODE}",
            "routing_event a1 gate-out: routes: expected an edge that begins where its visit was, got 'gate-out'",
        ],
    ),
    "an edge the other way only": (
        setting("edge", "batch-out", from_node_id="out", to_node_id="batch"),
        [f"token e: visits: {NODE}", f"token dn: origins: {BEGIN}"],
    ),
    "a visit to no node": (
        setting("node_state", "b12", node_id="gone"),
        ["node_state b12: visits: expected a visit to a node of the run", f"token b1: origins: {BEGIN}"],
    ),
    "an edge to no node": (
        adding("edge", "gate-out", edge_id="gate-x", to_node_id="x"),
        ["edge gate-x: visits: expected an edge between two nodes of the run"],
    ),
    "an edge from no node": (
        adding("edge", "gate-out", edge_id="gate-x", from_node_id="x"),
        ["edge gate-x: visits: expected an edge between two nodes of the run"],
    ),
    # The law of routes.
    "a gate without a decision": (
        without("routing_event", "a1 gate-out"),
        [f"token a: routes: {DECISION}"],
    ),
    "a gate that diverts": (
        setting("routing_event", "a1 gate-out", mode="divert"),
        [f"token a: routes: {DECISION}"],
    ),
    "a gate that does something else": (
        setting("routing_event", "a1 gate-out", mode="drop"),
        [f"token a: routes: {DECISION}"],
    ),
    "a step that does something else": (
        event("d2", "work-batch", "drop"),
        ["token d: routes: expected it to be moved, copied or diverted, got something else"],
    ),
    "another way": (
        setting("routing_event", "a1 gate-out", edge_id="gate-work"),
        [f"token a: routes: {ANOTHER_WAY}"],
    ),
    "a move to nowhere": (
        event("d2", "work-batch", "move"),
        [f"token d: routes: {ANOTHER_WAY}"],
    ),
    "a diversion another way": (
        setting("routing_event", "c2 work-bad", edge_id="work-meet"),
        [f"token c: routes: {ANOTHER_WAY}"],
    ),
    "on after a failure": (
        without("routing_event", "c2 work-bad"),
        ["token c: routes: expected a record of why a token went on after a failure, got none"],
    ),
    "moved after a failure": (
        setting("routing_event", "c2 work-bad", mode="move"),
        ["token c: routes: expected a record of why a token went on after a failure, got none"],
    ),
    "an edge that begins elsewhere": (
        setting("routing_event", "a1 gate-out", edge_id="batch-out"),
        ["routing_event a1 gate-out: routes: expected an edge that begins where its visit was, got 'batch-out'"],
    ),
    "an edge that does not exist": (
        setting("routing_event", "b1 gate-meet", edge_id="gone"),
        ["routing_event b1 gate-meet: routes: expected an edge that begins where its visit was, got 'gone'"],
    ),
    "two moves": (
        event("a1", "gate-work", "move"),
        [f"routing_event a1 gate-work: routes: {ONE_WAY}"],
    ),
    "a copy beside a move": (
        event("a1", "gate-work", "copy"),
        [f"routing_event a1 gate-work: routes: {ONE_WAY}"],
    ),
    "a move beside a copy": (
        event("b1", "gate-out", "move"),
        [f"routing_event b1 gate-out: routes: {ONE_WAY}"],
    ),
    "a copy too few": (
        without("routing_event", "b1 gate-meet"),
        ["token_outcome b: routes: expected a copy to be recorded for each of 2 children of a fork, got 1"],
    ),
    "a copy too many": (
        event("b1", "gate-out", "copy"),
        ["token_outcome b: routes: expected a copy to be recorded for each of 2 children of a fork, got 3"],
    ),
    # The law of origins.
    "a token from nowhere": (
        without("batch_output", "1"),
        [f"token dn: origins: {ORIGIN}"],
    ),
    "a token that was made and came out of a batch": (
        adding("batch_output", "1", batch_output_id="3", batch_id="wait", output_id="b1"),
        [f"token b1: origins: {ORIGIN}"],
    ),
    "a token that was read and came out of a batch": (
        adding("batch_output", "1", batch_output_id="3", batch_id="wait", output_id="a"),
        [f"token a: origins: {ORIGIN}"],
    ),
    "a child two steps behind": (
        setting("node_state", "b22", step_index=3),
        [f"token b2: origins: {BEGIN}"],
    ),
    "a child at a node without an edge": (
        without("edge", "gate-meet"),
        [
            "routing_event b1 gate-meet: routes: expected an edge that begins where its visit was, got 'gate-meet'",
            f"token b2: origins: {BEGIN}",
        ],
    ),
    "a merged token behind the first of its parents": (
        setting("node_state", "bm4", step_index=3),
        [f"token bm: origins: {BEGIN}"],
    ),
    "parents at two nodes": (
        setting("node_state", "b22", node_id="work"),
        ["token b2: origins: expected all that were merged to end at one node", f"token b2: outcomes: {OUTCOME}"],
    ),
    # The law of groups.
    "a token of two groups": (
        setting("token", "d1", fork_group_id="fork"),
        [
            "token_outcome b: routes: expected a copy to be recorded for each of 3 children of a fork, got 2",
            f"token d1: origins: {BEGIN}",
            "token d1: groups: expected it to be made by one fork, one expansion or one merge",
        ],
    ),
    "a child of a group of another kind": (
        setting("token", "d2", expand_group_id=None, fork_group_id="parts"),
        [
            f"token d2: origins: {ORIGIN}",
            "token d2: groups: expected it to be made by one fork, one expansion or one merge",
        ],
    ),
    "a parent of a token that was read": (
        adding("token_parent", "b1 b", token_id="a", parent_token_id="b"),
        ["token_parent a b: groups: expected a token that a fork, an expansion or a merge made, got another"],
    ),
    "two parents of a fork": (
        setting("token_parent", "b2 b", parent_token_id="a"),
        [
            "token b: origins: expected all that were merged to end at one node",
            f"token_parent b2 a: groups: {ONE_PARENT}",
        ],
    ),
    "a parent that became two groups": (
        adding("token_parent", "bm b1", parent_token_id="d"),
        [f"token_parent d1 d: groups: {ONE_PARENT}"],
    ),
    "a child without a parent": (
        without("token_parent", "d2 d"),
        [f"token d1: groups: {GROUP}"],
    ),
    "a merge without parents": (
        without("token_parent", "bm b1", "bm b2"),
        [f"token bm: origins: {BEGIN}", f"token_outcome b1: groups: {MERGE}"],
    ),
    "two tokens of one merge": (
        all_of(
            adding("token", "bm", token_id="bn"),
            adding("token_outcome", "bm", outcome_id="bn", token_id="bn"),
            visit("bn", 4, "out"),
        ),
        [
            f"token bm: groups: {GROUP}",
            f"operation sink_write out: outputs: {RESULT.format(5)}",
        ],
    ),
    "no group of a fork": (
        setting("token_outcome", "b", fork_group_id=None),
        ["token_outcome b: groups: expected the group of a token that was forked, got none"],
    ),
    "no group of an expansion": (
        setting("token_outcome", "d", expand_group_id=None),
        ["token_outcome d: groups: expected the group of a token that was expanded, got none"],
    ),
    "no group of a merge": (
        setting("token_outcome", "b2", join_group_id=None),
        ["token_outcome b2: groups: expected the group of a token that was coalesced, got none"],
    ),
    "a group of another kind": (
        setting("token_outcome", "b", fork_group_id="parts"),
        ["token_outcome b: groups: expected a token that was made when it was forked, got none"],
    ),
    "a group that does not exist": (
        setting("token_outcome", "b", fork_group_id="gone"),
        ["token_outcome b: groups: expected a token that was made when it was forked, got none"],
    ),
    "a group of a token that completed": (
        setting("token_outcome", "a", join_group_id="merge"),
        [f"token_outcome a: groups: {OTHER_GROUP}"],
    ),
    "another number of branches": (
        setting("token_outcome", "b", expected_branches_json='["one"]'),
        ["token_outcome b: groups: expected 1 children, as it says, got 2"],
    ),
    "another number of parts": (
        setting("token_outcome", "d", expected_branches_json='{"count":3}'),
        ["token_outcome d: groups: expected 3 children, as it says, got 2"],
    ),
    "a number of parts that is a truth": (
        setting("token_outcome", "d", expected_branches_json='{"count":true}'),
        ["token_outcome d: groups: expected -1 children, as it says, got 2"],
    ),
    "a number of parts that cannot be read": (
        setting("token_outcome", "d", expected_branches_json='"two"'),
        ["token_outcome d: groups: expected -1 children, as it says, got 2"],
    ),
    "branches in JSON that is too deep": (
        setting("token_outcome", "b", expected_branches_json="[" * 100_000),
        ["token_outcome b: groups: expected -1 children, as it says, got 2"],
    ),
    "a token merged elsewhere that came late": (
        setting("token_outcome", "b2", context_json='{"merged":false}', join_group_id="fork"),
        ["token_outcome b2: groups: expected a token that was made when it was coalesced, got none"],
    ),
    "a token too late, without a word": (
        without("token_parent", "bm b2"),
        [f"token_outcome b2: groups: {MERGE}"],
    ),
    "a token too late, with other words": (
        all_of(without("token_parent", "bm b2"), setting("token_outcome", "b2", context_json='{"merged":null}')),
        [f"token_outcome b2: groups: {MERGE}"],
    ),
    "a parent that ended otherwise": (
        setting("token_outcome", "d", outcome="dropped", expand_group_id=None, expected_branches_json=None),
        ["token d: groups: expected the outcome of a token that became others"],
    ),
    # The law of ends.
    "no end": (
        without("token_outcome", "a"),
        ["token a: ends: expected a terminal outcome of every token, got none of 1 of 11"],
    ),
    "no end of the last token": (
        without("token_outcome", "e"),
        ["token e: ends: expected a terminal outcome of every token, got none of 1 of 11"],
    ),
    "no ends": (
        setting("token_outcome", "a", is_terminal=False),
        ["token a: ends: expected a terminal outcome of every token, got none of 1 of 11"],
    ),
    "two ends": (
        adding("token_outcome", "a", outcome_id="z"),
        ["token_outcome z: ends: expected a token that has not ended yet"],
    ),
    # The law of outcomes.
    "another sink": (
        setting("token_outcome", "a", sink_name="bad"),
        [f"token c: outcomes: {OUTCOME}"],
    ),
    "a completed token without a sink": (
        setting("token_outcome", "a", sink_name=None),
        [f"token a: outcomes: {OUTCOME}"],
    ),
    "a failed token that did not fail": (
        setting("token_outcome", "a", outcome="failed", sink_name=None),
        [f"token a: outcomes: {OUTCOME}"],
    ),
    "a token that failed at a sink": (
        setting("node_state", "a2", status="failed"),
        [
            f"token a: outcomes: {OUTCOME}",
            f"operation sink_write out: outputs: {RESULT.format(3)}",
        ],
    ),
    "an unknown outcome": (
        setting("token_outcome", "a", outcome="lost"),
        [f"token a: outcomes: {OUTCOME}"],
    ),
    "a sink of a token that forked": (
        setting("token_outcome", "b", sink_name="out"),
        [f"token b: outcomes: {OUTCOME}"],
    ),
    "a fork at a transform": (
        setting("node", "gate", node_type="transform"),
        [f"token b: outcomes: {OUTCOME}"],
    ),
    "an expansion of a token that failed": (
        setting("node_state", "d2", status="failed"),
        [f"token d: outcomes: {OUTCOME}"],
    ),
    "a token that waits": (
        setting("node_state", "d2", status="pending"),
        [f"token d: outcomes: {OUTCOME}"],
    ),
    "a failed token that waits": (
        all_of(
            without("node_state", "c3"),
            without("artifact", "bad"),
            without("routing_event", "c2 work-bad"),
            setting("node_state", "c2", status="pending"),
            setting("token_outcome", "c", sink_name=None),
            setting("operation", "sink_write bad", output_data_hash=None),
        ),
        [f"token c: outcomes: {OUTCOME}"],
    ),
    # The law of outputs.
    "no completed load": (
        setting("operation", "source_load source", status="failed"),
        ["node source: outputs: expected a completed source_load of this source, got none"],
    ),
    "no completed write": (
        without("operation", "sink_write out"),
        ["node out: outputs: expected a completed sink_write of this sink, got none"],
    ),
    "two loads": (
        adding("operation", "source_load source", operation_id="t"),
        ["operation t: outputs: expected each source_load to be completed once, got it again for 'source'"],
    ),
    "no source": (
        setting("node", "source", node_type="transform"),
        [
            "row a: readings: expected a source among the nodes of the run, got another",
            "run: outputs: expected a source among the nodes of the run, got none",
        ],
    ),
    "another number of rows": (
        setting("operation", "source_load source", output_data_hash=sha256('{"rows":6}')),
        [f"operation source_load source: outputs: {RESULT.format(5)}"],
    ),
    "another result of a sink": (
        setting("operation", "sink_write out", output_data_hash=sha256('{"rows":4}')),
        [f"operation sink_write out: outputs: {RESULT.format(4)}"],
    ),
    "another result of a sink without artifact": (
        all_of(
            without("artifact", "bad"), setting("operation", "sink_write bad", output_data_hash=sha256('{"rows":2}'))
        ),
        [f"operation sink_write bad: outputs: {RESULT.format(1)}"],
    ),
    "an artifact of another sink": (
        setting("artifact", "out", sink_node_id="bad"),
        [f"artifact out: outputs: {OTHER_SINK}"],
    ),
    "an artifact of no sink": (
        setting("artifact", "bad", sink_node_id="gone"),
        [f"artifact bad: outputs: {OTHER_SINK}"],
    ),
    # The laws of numbers, tokens, hashes and times.
    "rows from 1": (
        lambda trail: [each.update(row_index=each["row_index"] + 1) for each in trail["row"]],
        ["row a: numbers: expected the row_index 0 next, got another"],
    ),
    "a gap between rows": (
        setting("row", "d", row_index=30),
        ["row d: numbers: expected the row_index 3 next, got another"],
    ),
    "a repeated number": (
        setting("row", "d", row_index=2),
        ["row d: numbers: expected the row_index 3 next, got another"],
    ),
    "a first row without a token": (
        lambda trail: trail["row"].insert(0, {**trail["row"][0], "row_id": "0"}),
        [
            "row a: numbers: expected the row_index 1 next, got another",
            "row 0: tokens: expected a token of this row, got none",
            "row 0: readings: expected one visit to its source, got none",
            f"operation source_load source: outputs: {RESULT.format(6)}",
        ],
    ),
    "another configuration": (
        setting("node", "meet", config_json="[]"),
        ["node meet: hashes: expected in config_hash the SHA-256 of config_json, got another"],
    ),
    "other settings": (
        setting("run", "", settings_json="[]"),
        ["run: hashes: expected in config_hash the SHA-256 of settings_json, got another"],
    ),
    "a run without an end": (
        setting("run", "", completed_at=None),
        ["run: times: expected the time when it ended, got none"],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_breach_is_reported_with_its_record(case: str) -> None:
    change, expected = CASES[case]
    trail = changed(change)
    assert sorted(breaches(trail)) == sorted(expected)
    assert sorted(breaches(trail, size=1)) == sorted(expected)


TIMES = ("started_at", "created_at", "registered_at", "recorded_at", "completed_at")


def another_row(*changes: Change) -> Change:
    """Add a row `f` that goes the way of `a`."""
    rows = {"operation_id": "x", "output_data_hash": None}
    return all_of(
        adding("row", "a", row_id="f", row_index=5),
        adding("token", "a", token_id="f", row_id="f"),
        adding("token_outcome", "a", outcome_id="f", token_id="f"),
        *(visit("f", step, node) for step, node in enumerate(("source", "gate", "out"))),
        event("f1", "gate-out", "move"),
        *(setting("operation", key, **{**rows, "operation_id": key}) for key in RESULTS),
        *changes,
    )


RESULTS = ("source_load source", "sink_write out")

SECOND: dict[str, tuple[Change, str]] = {
    "a decision": (without("routing_event", "f1 gate-out"), f"token f: routes: {DECISION}"),
    "a way": (setting("routing_event", "f1 gate-out", edge_id="gate-work"), f"token f: routes: {ANOTHER_WAY}"),
    "an outcome": (setting("token_outcome", "f", outcome="dropped"), f"token f: outcomes: {OUTCOME}"),
    "a sink": (setting("token_outcome", "f", sink_name="bad"), f"token f: outcomes: {OUTCOME}"),
    "a source": (
        setting("row", "f", source_node_id="gate"),
        "row f: readings: expected a source among the nodes of the run, got another",
    ),
    "a reading": (without("node_state", "f0"), "row f: readings: expected one visit to its source, got none"),
    "a visit": (setting("node_state", "f2", step_index=3), f"token f: visits: {STEP}"),
    "a status": (setting("node_state", "f2", status="failed"), f"token f: outcomes: {OUTCOME}"),
    "a batch that it came out of": (
        adding("batch_output", "1", batch_output_id="3", output_id="f"),
        f"token f: origins: {ORIGIN}",
    ),
    "a batch that consumed it": (
        all_of(
            adding("batch_member", "wait e", token_id="f"),
            adding("batch_output", "2", batch_output_id="3", output_id="f"),
            setting("token_outcome", "f", batch_id="wait"),
        ),
        f"token f: batches: {CONSUMED}",
    ),
    "a fork that made it": (setting("token", "f", fork_group_id="fork"), f"token f: origins: {ORIGIN}"),
    "a token that it became": (
        all_of(setting("token_parent", "bm b2", parent_token_id="f"), setting("token_outcome", "f", sink_name="out")),
        "token f: origins: expected all that were merged to end at one node",
    ),
}
"""What a second token may have otherwise than the first one of its journey, which was found sound."""


@pytest.mark.parametrize("case", SECOND)
def test_a_second_token_of_a_journey_is_judged_by_itself(case: str) -> None:
    assert breaches(changed(another_row())) == []
    change, expected = SECOND[case]
    assert expected in breaches(changed(another_row(change)))


def test_a_token_that_was_merged_did_not_come_too_late_for_another_merge() -> None:
    second = {"token_id": "bn", "join_group_id": "other"}
    late = {"join_group_id": "other", "context_json": '{"merged":false}'}
    trail = changed(
        all_of(
            adding("token", "bm", **second),
            adding("token_parent", "bm b1", token_id="bn", parent_token_id="a"),
            setting("token_outcome", "b2", **late),
        )
    )
    assert f"token_outcome b2: groups: {MERGE}" in breaches(trail)


@pytest.mark.parametrize("size", [1, 1000])
def test_an_open_end_does_not_hide_the_others(size: int) -> None:
    running = adding("operation", "sink_write out", operation_id="sink_write z", status="open", completed_at=None)
    late = f"expected a time until {ENDED}, when the run ended, got {LATER}"
    for time, problem in ((LATER, late), (EARLIER, "expected an end that is not before the beginning")):
        trail = changed(all_of(running, setting("operation", "source_load source", completed_at=time)))
        assert breaches(trail, size) == [f"operation source_load source: times: {problem}"]


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_as_many_sinks_as_the_verifier_can_count_are_no_breach(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr(_tokens, "_MAX_SINKS", 2)
    assert breaches(sound_trail(), size) == []
    monkeypatch.setattr(_tokens, "_MAX_SINKS", 1)
    assert "token_outcome c: outcomes: expected at most 1 sinks" in breaches(sound_trail(), 1)


SOUND: dict[str, Change] = {
    "nothing": all_of(),
    "everything as the run begins": lambda trail: [
        each.update({name: BEGAN for name in each if name in TIMES and each[name] is not None})
        for name, some in trail.items()
        if name != "run"
        for each in some
    ],
    "everything as the run ends": lambda trail: [
        each.update({name: ENDED for name in each if name in TIMES and each[name] is not None})
        for name, some in trail.items()
        if name != "run"
        for each in some
    ],
    "another attempt": all_of(
        adding("node_state", "c2", state_id="c2b", attempt=1),
        setting("node_state", "c2", attempt=0),
        setting("routing_event", "c2 work-bad", state_id="c2b"),
        setting("routing_event", "c2 work-bad", event_id="c2b work-bad"),
    ),
    "visits recorded in another order": all_of(
        setting("node_state", "a0", state_id="z"), setting("node_state", "b22", state_id="0")
    ),
    "a token that came too late for the merge": all_of(
        without("token_parent", "bm b2"), setting("token_outcome", "b2", context_json='{"merged":false}')
    ),
    "a fork whose outcome does not say how many": setting("token_outcome", "b", expected_branches_json=None),
    "an artifact out of a batch": adding(
        "batch_output", "1", batch_output_id="3", output_type="artifact", output_id="out"
    ),
    "a load that failed before": adding(
        "operation", "source_load source", operation_id="0", status="failed", output_data_hash=None
    ),
    "a write that stopped before": adding(
        "operation", "sink_write out", operation_id="0", status="open", completed_at=None, output_data_hash=None
    ),
    "another operation that completed twice": all_of(
        adding("operation", "sink_write out", operation_id="y", operation_type="call", output_data_hash=None),
        adding("operation", "sink_write out", operation_id="z", operation_type="call", output_data_hash=None),
    ),
    "results without a hash": setting("operation", "sink_write out", output_data_hash=None),
    "an outcome that was not the last": adding(
        "token_outcome", "a", outcome_id="0", outcome="buffered", is_terminal=False, sink_name=None
    ),
    "an outcome in a batch that was not the last": adding(
        "token_outcome", "a", outcome_id="0", outcome="buffered", is_terminal=False, sink_name=None, batch_id="wait"
    ),
    "a failed batch whose members go on": all_of(
        setting("batch", "wait", status="failed"), without("batch_output", "2")
    ),
    "a token that failed without a sink": all_of(
        without("node_state", "c3"),
        without("artifact", "bad"),
        without("routing_event", "c2 work-bad"),
        setting("token_outcome", "c", sink_name=None),
    ),
    "a token that was quarantined": setting("token_outcome", "c", outcome="quarantined"),
    "a token that was dropped": all_of(
        without("node_state", "c3"),
        without("artifact", "bad"),
        without("routing_event", "c2 work-bad"),
        setting("node_state", "c2", status="completed"),
        setting("token_outcome", "c", outcome="dropped", sink_name=None),
    ),
    "a merge of which one parent waited": all_of(
        setting("node_state", "b22", step_index=2), setting("node_state", "bm4", step_index=4)
    ),
    "an edge that nobody takes": adding("edge", "gate-out", edge_id="work-out", from_node_id="work"),
    "sinks whose names are not their nodes'": lambda trail: [
        each.update(sink_name={"out": "bad", "bad": "out"}[each["sink_name"]])
        for each in trail["token_outcome"]
        if each["sink_name"]
    ],
}


@pytest.mark.parametrize("case", SOUND)
def test_a_trail_that_just_keeps_the_laws_is_accepted(case: str) -> None:
    trail = changed(SOUND[case])
    assert breaches(trail) == breaches(trail, size=1) == []


TIMED = [(name, column) for name, ledger in LEDGERS.items() for column in ledger.columns if column in TIMES]


def with_all_types() -> Trail:
    """Return the trail with a record of each type."""
    trail = sound_trail()
    for name in trail.keys() & LEDGERS.keys():
        if not trail[name]:
            keys = dict.fromkeys(TYPES[name]["key"][1:], "1")
            trail[name].append({"record_type": name, "run_id": "run-1", **keys, "created_at": MOMENT})
    return trail


@pytest.mark.parametrize(("record_type", "column"), [each for each in TIMED if each[0] != "run"])
def test_a_time_outside_of_the_run_is_reported(record_type: str, column: str) -> None:
    trail = with_all_types()
    record = trail[record_type][-1]
    key = " ".join(record[each] for each in TYPES[record_type]["key"][1:])
    ends = column == "completed_at"
    backwards = "expected an end that is not before the beginning"
    early = f"expected a time from {BEGAN} on, when the run began, got {EARLIER}"
    for time, problem in ((EARLIER, backwards if ends else early), (BEGAN, backwards if ends else None), (ENDED, None)):
        record[column] = time
        if "completed_at" in record and not ends:
            record["completed_at"] = ENDED
        assert breaches(trail) == ([f"{record_type} {key}: times: {problem}"] if problem else [])
    record[column] = LATER
    if "completed_at" in record:
        record["completed_at"] = LATER
    late = f"expected a time until {ENDED}, when the run ended, got {LATER}"
    assert breaches(trail) == [f"{record_type} {key}: times: {late}"]


@pytest.mark.parametrize(
    ("limit", "name", "message"),
    [
        ("NOWHERE", "node", "node source: visits: expected at most 5 nodes, got more"),
        ("_MAX_EDGES", "edge", "edge meet-out: visits: expected at most 5 edges, got more"),
    ],
)
def test_more_nodes_or_edges_than_can_be_numbered_are_reported(
    monkeypatch: pytest.MonkeyPatch, limit: str, name: str, message: str
) -> None:
    monkeypatch.setattr(_pipeline, limit, len(sound_trail()[name]))
    assert breaches(sound_trail()) == []
    monkeypatch.setattr(_pipeline, limit, 5)
    assert message in breaches(sound_trail())


MANY: dict[Law, Change] = {
    Law.NUMBERS: setting("row", "e", row_index=5),
    Law.TOKENS: lambda trail: trail["row"].append({**trail["row"][-1], "row_id": "z", "row_index": 6}),
    Law.VISITS: without("edge", "batch-out"),
    Law.ROUTES: without("routing_event", "a1 gate-out"),
    Law.GROUPS: setting("token_outcome", "d", expected_branches_json="[]"),
    Law.BATCHES: setting("batch", "wait", status="failed"),
    Law.ENDS: without("token_outcome", "bm"),
    Law.OUTCOMES: setting("token_outcome", "a", sink_name="bad"),
    Law.HASHES: setting("node", "meet", config_json="[]"),
    Law.TIMES: setting("edge", "gate-out", created_at=LATER),
}
"""Breaches of all laws at once: readings, origins and outputs break with them."""


@pytest.mark.parametrize("status", ["completed", "failed"])
@pytest.mark.parametrize("epoch", [None, 1, 2, 3, 4, 5, 6])
def test_the_laws_that_are_asked_depend_on_the_epoch_and_the_status(epoch: int | None, status: str) -> None:
    trail = changed(all_of(*MANY.values(), setting("run", "", status=status)))
    asked = {Law.NUMBERS, Law.TOKENS, Law.HASHES}
    if (epoch is None or epoch >= 3) and status == "completed":
        asked.add(Law.ENDS)
    if epoch is not None and epoch >= 5:
        asked = set(Law) - ({Law.ENDS, Law.OUTPUTS} if status == "failed" else set())
    assert [each.split(": ")[1] for each in breaches(trail, epoch=epoch)] == [law for law in Law if law in asked]


def test_a_run_without_outcomes_is_not_asked_for_ends_if_it_may_be_older() -> None:
    trail = changed(lambda trail: trail["token_outcome"].clear())
    assert breaches(trail, epoch=None) == []
    assert breaches(trail, epoch=3) == [
        "token a: ends: expected a terminal outcome of every token, got none of 11 of 11"
    ]


NOT_ASKED = "readings, visits, routes, origins, groups, batches"


@pytest.mark.parametrize(
    ("epoch", "status", "said"),
    [
        (5, "completed", "all 13 laws hold"),
        (5, "failed", "11 of 13 laws hold; 2 not asked of a failed run: ends, outputs"),
        (
            4,
            "completed",
            (
                "4 of 13 laws hold; 9 not asked of a run that was recorded in epoch 4:"
                f" {NOT_ASKED}, outcomes, outputs, times"
            ),
        ),
        (
            3,
            "failed",
            (
                f"3 of 13 laws hold; 9 not asked of a run that was recorded in epoch 3: {NOT_ASKED}, outcomes, outputs,"
                " times; 1 not asked of a failed run: ends"
            ),
        ),
        (
            None,
            "completed",
            (
                "4 of 13 laws hold; 9 not asked of a run that was imported, or recorded before runs were sealed:"
                f" {NOT_ASKED}, outcomes, outputs, times"
            ),
        ),
    ],
)
def test_the_laws_that_were_not_asked_are_named_with_the_reason(epoch: int | None, status: str, said: str) -> None:
    assert checked(changed(setting("run", "", status=status))).accounting(epoch) == said


def test_only_so_many_artifacts_of_a_sink_are_compared() -> None:
    """The result must be that of one of them."""
    names = [f"out{number}" for number in range(1, 9)]
    more = all_of(*(adding("artifact", "out", artifact_id=name, path_or_uri=name) for name in names[:-1]))
    assert breaches(changed(more)) == []


def test_artifacts_of_more_than_one_visit_belong_to_their_sink() -> None:
    trail = changed(setting("artifact", "out", produced_by_state_id="bm4"))
    assert breaches(trail) == []
    assert breaches(changed(setting("artifact", "out", produced_by_state_id="c3"))) == [
        f"artifact out: outputs: {OTHER_SINK}",
    ]
