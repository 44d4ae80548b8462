"""A small trail with everything the laws are about.

It is written by hand, so that a breach can be compared with its whole message. Each row takes another way:

- `a` along the gate to the sink `out`; `b` through a fork and a merge; `c` fails and is diverted to the sink `bad`;
- `d` is expanded, and a batch consumes what it became; `e` waits in a batch and comes out of it again.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable
from typing import Any, cast

import rfc8785

from elspeth.evidence.verifier._record_schema import read_shapes
from elspeth.evidence.verifier._record_types import read_rules
from elspeth.evidence.verifier._trail import TrailChecker
from elspeth.evidence.verifier.procedure import Step, StepError
from tests.evidence.bags import DOCUMENTS, REFERENCES

__all__ = [
    "BEGAN",
    "ENDED",
    "MOMENT",
    "TYPES",
    "Trail",
    "breaches",
    "changed",
    "checked",
    "record_of",
    "sha256",
    "sound_trail",
]

Record = dict[str, Any]
Trail = dict[str, list[Record]]
"""Records by type."""

BEGAN, MOMENT, ENDED = (f"2026-02-01T00:00:0{second}.000000Z" for second in range(3))

RULES = read_rules(DOCUMENTS["references.json"], "rules")
TYPES = cast("dict[str, dict[str, Any]]", REFERENCES["types"])
"""The rules of each record type."""

SHAPES = read_shapes(DOCUMENTS["export.schema.json"], "schema")


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def sound_trail() -> Trail:
    """Return the trail, which keeps all laws."""
    trail = _Trail()
    for name, kind in _NODES.items():
        trail.add("node", node_id=name, node_type=kind, config_hash=sha256("{}"), config_json="{}", registered_at=BEGAN)
    for origin, target in _EDGES:
        trail.add("edge", edge_id=f"{origin}-{target}", from_node_id=origin, to_node_id=target, created_at=BEGAN)
    for index, row in enumerate("abcde"):
        trail.add("row", row_id=row, row_index=index, source_node_id="source", created_at=MOMENT)
        trail.token(row, row, "source", "gate")
    trail.visits("a", 2, "out")
    trail.event("a1", "gate-out", "move")
    trail.outcome("a", "routed", sink_name="out")
    _fork_and_merge(trail)
    trail.visits("c", 2, "work", "bad")
    trail.find("node_state", "c2")["status"] = "failed"
    trail.event("c1", "gate-work", "move")
    trail.event("c2", "work-bad", "divert")
    trail.outcome("c", "failed", sink_name="bad")
    _expand_and_consume(trail)
    _wait(trail)
    _complete(trail)
    return trail.records


def _fork_and_merge(trail: _Trail) -> None:
    for branch, child in (("work", "b1"), ("meet", "b2")):
        trail.event("b1", f"gate-{branch}", "copy")
        trail.child(child, "b", fork_group_id="fork")
    trail.outcome("b", "forked", fork_group_id="fork", expected_branches_json='["one","two"]')
    trail.visits("b1", 2, "work", "meet")
    trail.visits("b2", 2, "meet")
    trail.token("bm", "b", join_group_id="merge")
    for parent in ("b1", "b2"):
        trail.add("token_parent", token_id="bm", parent_token_id=parent)
        trail.outcome(parent, "coalesced", join_group_id="merge")
    trail.visits("bm", 4, "out")
    trail.outcome("bm", "completed", sink_name="out")


def _expand_and_consume(trail: _Trail) -> None:
    trail.visits("d", 2, "work")
    trail.event("d1", "gate-work", "move")
    trail.add("batch", batch_id="sum", aggregation_node_id="batch", status="completed", **_SPAN)
    for child in ("d1", "d2"):
        trail.child(child, "d", expand_group_id="parts")
        trail.visits(child, 3, "batch")
        trail.add("batch_member", batch_id="sum", token_id=child)
        trail.outcome(child, "consumed_in_batch", batch_id="sum")
    trail.outcome("d", "expanded", expand_group_id="parts", expected_branches_json='{"count":2}')
    trail.token("dn", "d")
    trail.visits("dn", 4, "out")
    trail.outcome("dn", "completed", sink_name="out")
    trail.add("batch_output", batch_output_id="1", batch_id="sum", output_type="token", output_id="dn")


def _wait(trail: _Trail) -> None:
    trail.visits("e", 2, "batch", "out")
    trail.event("e1", "gate-batch", "move")
    trail.add("batch", batch_id="wait", aggregation_node_id="batch", status="completed", **_SPAN)
    trail.add("batch_member", batch_id="wait", token_id="e")
    trail.add("batch_output", batch_output_id="2", batch_id="wait", output_type="token", output_id="e")
    trail.outcome("e", "completed", sink_name="out")


def _complete(trail: _Trail) -> None:
    """Add the results of the source and the sinks."""
    trail.operation("source", "source_load", {"rows": 5})
    for sink, rows, state in (("out", 4, "a2"), ("bad", 1, "c3")):
        values = {"content_hash": sha256(sink), "size_bytes": rows}
        trail.operation(sink, "sink_write", {"rows": rows, "path": f"{sink}.csv", **values})
        values |= {"produced_by_state_id": state, "sink_node_id": sink, "path_or_uri": f"{sink}.csv"}
        trail.add("artifact", artifact_id=sink, created_at=MOMENT, **values)


_NODES = {
    "bad": "sink",
    "batch": "aggregation",
    "gate": "gate",
    "meet": "coalesce",
    "out": "sink",
    "source": "source",
    "work": "transform",
}
_EDGES = [
    ("source", "gate"),
    *(("gate", target) for target in ("batch", "meet", "out", "work")),
    *(("work", target) for target in ("bad", "batch", "meet")),
    ("meet", "out"),
    ("batch", "out"),
]
_SPAN = {"created_at": MOMENT, "completed_at": MOMENT}
_GROUPS = {"fork_group_id": None, "expand_group_id": None, "join_group_id": None}


class _Trail:
    def __init__(self) -> None:
        self.records: Trail = {name: [] for name in REFERENCES["order"]}
        settings = {"config_hash": sha256("{}"), "settings_json": "{}"}
        self.add("run", status="completed", started_at=BEGAN, completed_at=ENDED, **settings)

    def add(self, record_type: str, **values: object) -> Record:
        record = {"record_type": record_type, "run_id": "run-1", **values}
        self.records[record_type].append(record)
        return record

    def find(self, record_type: str, key: str) -> Record:
        return next(each for each in self.records[record_type] if key in each.values())

    def token(self, token: str, row: str, *nodes: str, **group: str) -> None:
        values = {**_GROUPS, **group}
        self.add("token", token_id=token, row_id=row, created_at=MOMENT, **values)
        self.visits(token, 0, *nodes)

    def child(self, token: str, parent: str, **group: str) -> None:
        self.token(token, parent, **group)
        self.add("token_parent", token_id=token, parent_token_id=parent)

    def visits(self, token: str, first: int, *nodes: str) -> None:
        for step, node in enumerate(nodes, start=first):
            values = {"token_id": token, "node_id": node, "step_index": step, "attempt": 0, "status": "completed"}
            times = {"started_at": MOMENT, "completed_at": MOMENT}
            self.add("node_state", state_id=f"{token}{step}", **values, **times)

    def event(self, state: str, edge: str, mode: str) -> None:
        self.add(
            "routing_event", event_id=f"{state} {edge}", state_id=state, edge_id=edge, mode=mode, created_at=MOMENT
        )

    def outcome(self, token: str, outcome: str, **values: str) -> None:
        nulls = dict.fromkeys(("batch_id", "sink_name", "context_json", "expected_branches_json"))
        rest = {**_GROUPS, **nulls, **values}
        self.add(
            "token_outcome",
            outcome_id=token,
            token_id=token,
            outcome=outcome,
            is_terminal=True,
            recorded_at=MOMENT,
            **rest,
        )

    def operation(self, node: str, kind: str, result: Record) -> None:
        times = {"started_at": MOMENT, "completed_at": MOMENT}
        digest = hashlib.sha256(rfc8785.dumps(result)).hexdigest()
        values = {"operation_type": kind, "status": "completed", "output_data_hash": digest}
        self.add("operation", operation_id=f"{kind} {node}", node_id=node, **values, **times)


def record_of(trail: Trail, record_type: str, key: str) -> Record:
    """Return the record with this key, joined by spaces."""
    columns = TYPES[record_type]["key"][1:]
    return next(each for each in trail[record_type] if " ".join(each[column] for column in columns) == key)


def in_order(trail: Trail) -> list[Record]:
    """Return the records in export order."""
    found = []
    for name in REFERENCES["order"]:
        columns = TYPES[name]["order"]
        found += sorted(trail[name], key=lambda each: [each[column] for column in columns])
    return found


def checked(trail: Trail, size: int = 1000) -> TrailChecker:
    """Check the lines of a trail, `size` at once."""
    checker = TrailChecker(RULES, SHAPES, None)
    lines = list(map(rfc8785.dumps, in_order(trail)))
    for start in range(0, len(lines), size):
        checker.check(start + 1, lines[start : start + size])
    checker.lifecycles()
    return checker


def breaches(trail: Trail, size: int = 1000, epoch: int | None = 5) -> list[str]:
    """Return the record, law and problem of each breach."""
    checker = checked(trail, size)
    try:
        checker.accounting(epoch)
    except StepError as error:
        found = error
    else:
        return []
    assert found.step is Step.ACCOUNTING
    return [named(trail, part) for part in str(found).removeprefix(LINE).split(f"; {LINE}")]


LINE = "data/records.jsonl, line "


def named(trail: Trail, part: str) -> str:
    """Name a record instead of its line."""
    number, _, rest = part.partition(": ")
    record = in_order(trail)[int(number) - 1]
    key = TYPES[record["record_type"]]["key"][1:]
    return " ".join([record["record_type"], *(record[column] for column in key)]) + f": {rest}"


def changed(change: Callable[[Trail], object]) -> Trail:
    """Return a sound trail with one change."""
    trail = copy.deepcopy(_SOUND)
    change(trail)
    return trail


_SOUND = sound_trail()
