"""Checks the run, its graph, its source and its sinks.

This proves the laws of hashes and outputs, and that edges lead from node to node.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256

from elspeth.evidence.format.canonical import canonical
from elspeth.evidence.format.errors import shown
from elspeth.evidence.format.laws import Law
from elspeth.evidence.verifier.accounting._account import (
    INTEGER,
    NOWHERE,
    OR_NULL,
    TEXT,
    TIME,
    Account,
    AnyLedger,
    Columns,
    Ledger,
    Links,
    edge_code,
    node_of,
    present,
)

__all__ = ["LEDGERS", "check_outputs"]

_MAX_EDGES = 1 << 16
_MAX_ARTIFACTS = 8
"""The largest number of artifacts that are kept for one sink. A sink has one."""

_LOAD, _WRITE = "source_load", "sink_write"
_OPERATIONS = {_LOAD: "source", _WRITE: "sink"}
"""The type of the nodes that must have completed one operation, by operation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _RunFacts:
    started_at: str
    completed_at: str | None
    is_hash_right: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _NodeFacts:
    """Key, type and correctness of the config hash by node."""

    nodes: Sequence[tuple[str, str, bool]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _EdgeFacts:
    """Key, origin and target of each edge."""

    edges: Sequence[tuple[str, str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _OperationFacts:
    """Index, node, type and result hash of each completed operation."""

    completed: Sequence[tuple[int, str, str, str | None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _ArtifactFacts:
    """The sink of each artifact, and its hashed description."""

    artifacts: Sequence[tuple[str, Mapping[str, str | int]]]


def _read_run(columns: Columns) -> _RunFacts:
    return _RunFacts(
        started_at=str(columns["started_at"][0]),
        completed_at=columns["completed_at"][0],
        is_hash_right=_is_hash_of(columns["config_hash"][0], columns["settings_json"][0]),
    )


def _enter_run(account: Account, first: int, facts: _RunFacts, _: Links) -> None:
    account.started_at, account.completed_at = facts.started_at, facts.completed_at
    if facts.completed_at is None:
        account.breach(Law.TIMES, "run", first, "expected the time when it ended, got none")
    if not facts.is_hash_right:
        problem = "expected in config_hash the SHA-256 of settings_json, got another"
        account.breach(Law.HASHES, "run", first, problem)


def _read_nodes(columns: Columns) -> _NodeFacts:
    rights = map(_is_hash_of, columns["config_hash"], columns["config_json"])
    found = zip(columns["node_id"], columns["node_type"], rights, strict=True)
    return _NodeFacts(nodes=[(str(node), str(kind), right) for node, kind, right in found])


def _enter_nodes(account: Account, first: int, facts: _NodeFacts, _: Links) -> None:
    for number, (node, kind, is_right) in enumerate(facts.nodes, start=first):
        if number >= NOWHERE:
            account.breach(Law.VISITS, "node", number, f"expected at most {NOWHERE:,} nodes, got more")
            return
        account.nodes[node] = number
        account.node_types.append(kind)
        if not is_right:
            problem = "expected in config_hash the SHA-256 of config_json, got another"
            account.breach(Law.HASHES, "node", number, problem)


def _read_edges(columns: Columns) -> _EdgeFacts:
    found = zip(columns["edge_id"], columns["from_node_id"], columns["to_node_id"], strict=True)
    return _EdgeFacts(edges=[(str(edge), str(origin), str(target)) for edge, origin, target in found])


def _enter_edges(account: Account, first: int, facts: _EdgeFacts, _: Links) -> None:
    for number, (edge, origin, target) in enumerate(facts.edges, start=first):
        if number >= _MAX_EDGES:
            account.breach(Law.VISITS, "edge", number, f"expected at most {_MAX_EDGES:,} edges, got more")
            return
        ends = account.node(origin), account.node(target)
        if NOWHERE in ends:
            account.breach(Law.VISITS, "edge", number, "expected an edge between two nodes of the run")
            continue
        account.edges[edge] = ends
        account.edge_codes.add(edge_code(*ends))


def _read_operations(columns: Columns) -> _OperationFacts:
    names = ("node_id", "operation_type", "status", "output_data_hash")
    found = enumerate(zip(*(columns[name] for name in names), strict=True))
    completed = [
        (index, str(node), kind, digest)
        for index, (node, kind, status, digest) in found
        if status == "completed" and kind in _OPERATIONS
    ]
    return _OperationFacts(completed=completed)


def _enter_operations(account: Account, first: int, facts: _OperationFacts, _: Links) -> None:
    for index, node, kind, digest in facts.completed:
        key = account.node(node), kind
        if key in account.operations:
            problem = f"expected each {kind} to be completed once, got it again for {shown(node)}"
            account.breach(Law.OUTPUTS, "operation", first + index, problem)
        elif key[0] != NOWHERE:
            account.operations[key] = first + index, digest


def _read_artifacts(columns: Columns) -> _ArtifactFacts:
    names = ("sink_node_id", "path_or_uri", "content_hash", "size_bytes")
    found = zip(*(columns[name] for name in names), strict=True)
    artifacts: list[tuple[str, Mapping[str, str | int]]] = [
        (str(node), {"path": str(path), "content_hash": str(digest), "size_bytes": int(str(size))})
        for node, path, digest, size in found
    ]
    return _ArtifactFacts(artifacts=artifacts)


def _enter_artifacts(account: Account, first: int, facts: _ArtifactFacts, links: Links) -> None:
    for index, ((node, artifact), state) in enumerate(zip(facts.artifacts, present(links[0]), strict=True)):
        sink = account.node(node)
        if sink == NOWHERE or sink != node_of(account.visits[state]):
            problem = "expected an artifact of the sink that was visited, got one of another"
            account.breach(Law.OUTPUTS, "artifact", first + index, problem)
        elif len(known := account.artifacts.setdefault(sink, [])) < _MAX_ARTIFACTS:
            known.append(artifact)


def _is_hash_of(digest: str | None, text: str | None) -> bool:
    return sha256((text or "").encode()).hexdigest() == digest


LEDGERS: Mapping[str, AnyLedger] = {
    "run": Ledger(
        columns={"started_at": TIME, "completed_at": TIME + OR_NULL, "config_hash": TEXT, "settings_json": TEXT},
        read=_read_run,
        enter=_enter_run,
    ),
    "node": Ledger(
        columns={
            "node_id": TEXT,
            "node_type": TEXT,
            "config_hash": TEXT,
            "config_json": TEXT,
            "registered_at": TIME,
        },
        read=_read_nodes,
        enter=_enter_nodes,
    ),
    "edge": Ledger(
        columns={"edge_id": TEXT, "from_node_id": TEXT, "to_node_id": TEXT, "created_at": TIME},
        read=_read_edges,
        enter=_enter_edges,
    ),
    "operation": Ledger(
        columns={
            "node_id": TEXT,
            "operation_type": TEXT,
            "status": TEXT,
            "output_data_hash": TEXT + OR_NULL,
            "started_at": TIME,
            "completed_at": TIME + OR_NULL,
        },
        read=_read_operations,
        enter=_enter_operations,
    ),
    "artifact": Ledger(
        columns={
            "produced_by_state_id": TEXT,
            "sink_node_id": TEXT,
            "path_or_uri": TEXT,
            "content_hash": TEXT,
            "size_bytes": INTEGER,
            "created_at": TIME,
        },
        links={"produced_by_state_id": "node_state"},
        read=_read_artifacts,
        enter=_enter_artifacts,
    ),
}


def check_outputs(account: Account, written: Mapping[int, int]) -> None:
    """Check that source and sinks completed as recorded.

    `written` maps the sinks to the number of tokens that ended there.
    """
    loaded = Counter(account.sources)
    for kind, node_type in _OPERATIONS.items():
        for node, found in enumerate(account.node_types):
            if found == node_type and (node, kind) not in account.operations:
                account.breach(Law.OUTPUTS, "node", node, f"expected a completed {kind} of this {found}, got none")
    if "source" not in account.node_types:
        account.breach(Law.OUTPUTS, "run", 0, "expected a source among the nodes of the run, got none")
    for (node, kind), (number, digest) in account.operations.items():
        count = loaded[node] if kind == _LOAD else written.get(node, 0)
        artifacts = account.artifacts.get(node, []) if kind == _WRITE else []
        if digest is None or (kind == _WRITE and not count and not artifacts):
            continue  # nothing to compare: a sink without rows may have written an output without an artifact
        results: list[Mapping[str, str | int]] = [{"rows": count, **artifact} for artifact in artifacts]
        if digest not in {sha256(canonical(each)).hexdigest() for each in results or [{"rows": count}]}:
            problem = f"expected the hash of the result: {count:,} rows, and the artifact if there is one, got another"
            account.breach(Law.OUTPUTS, "operation", number, problem)
