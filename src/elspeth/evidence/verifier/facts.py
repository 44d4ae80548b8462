"""What the laws of accounting need to know of some records of one type, found out without knowing any others.

It is the larger part of the work, and can be done by several processes at once.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from operator import lt
from typing import TypeAlias, cast

from elspeth.evidence.verifier.key_map import compact

__all__ = [
    "ATTEMPTS",
    "COMPLETED",
    "COPY",
    "DIVERT",
    "EXPAND",
    "FAILED",
    "FORK",
    "JOIN",
    "MOVE",
    "NODES",
    "OUTCOMES",
    "STEPS",
    "UNFINISHED",
    "ArtifactFacts",
    "BatchFacts",
    "EdgeFacts",
    "Ending",
    "EventFacts",
    "Facts",
    "NodeFacts",
    "OperationFacts",
    "OutcomeFacts",
    "OutputFacts",
    "RowFacts",
    "RunRecordFacts",
    "StateFacts",
    "Times",
    "TokenFacts",
    "facts_of",
]

COMPLETED, FAILED, UNFINISHED = 0, 1, 2
"""How a visit ended, in two bits."""

NODES, ATTEMPTS, STEPS = 1 << 14, 1 << 4, 1 << 12
"""How many of each there can be: together with how a visit ended they make up a number of 32 bits."""

MOVE, COPY, DIVERT = 1, 2, 3
"""What happened to a token on an edge."""

FORK, EXPAND, JOIN = 1, 2, 3
"""What made a token of others."""

OUTCOMES = (
    "completed",
    "routed",
    "failed",
    "quarantined",
    "forked",
    "expanded",
    "coalesced",
    "consumed_in_batch",
)
"""How a token can end; counted from 1."""

_Values: TypeAlias = Sequence[str | None]
_Columns: TypeAlias = Mapping[str, _Values]

_GROUPS = {"fork_group_id": FORK, "expand_group_id": EXPAND, "join_group_id": JOIN}
_STATUS: Mapping[str | None, int] = {"completed": COMPLETED, "failed": FAILED}
_MODES: Mapping[str | None, int] = {"move": MOVE, "copy": COPY, "divert": DIVERT}
_CODES: Mapping[str | None, int] = {name: number for number, name in enumerate(OUTCOMES, start=1)}
_OPERATIONS = ("source_load", "sink_write")
_BEGINS = ("started_at", "created_at", "registered_at", "recorded_at")


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """The first and last time in some records, and which of them ends before it begins; places count from 0."""

    first: str
    first_at: int
    last: str
    last_at: int
    backwards_at: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """An outcome about a group: at which place, of which kind, and how many children it expects, if it says so.

    -1 stands for an expectation that cannot be read. `is_late` says that the token came after the merge.
    """

    at: int
    kind: int
    group: bytes
    expected: int | None
    is_late: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What some records of one type tell; of some types, their times only. Places count from 0."""

    times: Times | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecordFacts(Facts):
    """When the run began and ended, and whether the hash of its settings is right."""

    started_at: str
    completed_at: str | None
    is_hash_right: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeFacts(Facts):
    """Key, type, and whether the hash of the configuration is right, of each node."""

    nodes: Sequence[tuple[str, str, bool]]


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeFacts(Facts):
    """Key, beginning and end of each edge."""

    edges: Sequence[tuple[str, str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationFacts(Facts):
    """Place, node, type and the hash of the result, of each completed operation."""

    completed: Sequence[tuple[int, str, str, str | None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class RowFacts(Facts):
    """The first index, the place of the first row whose index does not follow, and the source of each row."""

    first_index: int
    gap_at: int | None
    sources: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenFacts(Facts):
    """Place, kind and group of each token that was made of others."""

    made: Sequence[tuple[int, int, bytes]]


@dataclass(frozen=True, slots=True, kw_only=True)
class StateFacts(Facts):
    """The node of each visit, and the rest of it: step and attempt and how it ended, in bits 20, 16 and 0."""

    nodes: Sequence[str]
    rests: array[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class EventFacts(Facts):
    """Edge and mode of each routing event."""

    routes: Sequence[tuple[str, int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchFacts(Facts):
    """The node of each batch, and whether it was completed."""

    batches: Sequence[tuple[str, bool]]


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputFacts(Facts):
    """The keys of the tokens that came out of batches; None for other outputs."""

    tokens: Sequence[bytes | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactFacts(Facts):
    """The sink of each artifact, and what the sink's operation says of it."""

    artifacts: Sequence[tuple[str, Mapping[str, str | int]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomeFacts(Facts):
    """The code of each terminal outcome, 0 for others; the sinks; and what is said of groups."""

    codes: array[int]
    sinks: Sequence[str | None]
    endings: Sequence[Ending]


def facts_of(record_type: str, columns: _Columns) -> Facts:
    """Return what several records of a type tell, given column by column."""
    times = _times(columns)
    read = _READERS.get(record_type)
    return Facts(times=times) if read is None else read(columns, times)


def _times(columns: _Columns) -> Times | None:
    begins = next((columns[name] for name in _BEGINS if name in columns), None)
    if begins is None:
        return None
    begins = cast("Sequence[str]", begins)
    first, last = min(begins), max(begins)
    ends = columns.get("completed_at")
    backwards, last_column = None, cast("_Values", begins)
    if ends is not None and ends.count(None) < len(ends):
        last_end = max(end for end in ends if end is not None) if None in ends else max(cast("Sequence[str]", ends))
        if last_end >= last:
            last_column, last = ends, last_end
        backwards = _first_backwards(begins, ends)
    return Times(
        first=first,
        first_at=begins.index(first),
        last=last,
        last_at=last_column.index(last),
        backwards_at=backwards,
    )


def _first_backwards(begins: Sequence[str], ends: _Values) -> int | None:
    if None not in ends and not any(map(lt, cast("Sequence[str]", ends), begins)):
        return None
    pairs = enumerate(zip(begins, ends, strict=True))
    return next((at for at, (begin, end) in pairs if end is not None and end < begin), None)


def _is_hash_of(digest: str | None, text: str | None) -> bool:
    return sha256((text or "").encode()).hexdigest() == digest


def _run(columns: _Columns, times: Times | None) -> RunRecordFacts:
    return RunRecordFacts(
        times=times,
        started_at=str(columns["started_at"][0]),
        completed_at=columns["completed_at"][0],
        is_hash_right=_is_hash_of(columns["config_hash"][0], columns["settings_json"][0]),
    )


def _nodes(columns: _Columns, times: Times | None) -> NodeFacts:
    rights = map(_is_hash_of, columns["config_hash"], columns["config_json"])
    found = zip(columns["node_id"], columns["node_type"], rights, strict=True)
    return NodeFacts(times=times, nodes=[(str(node), str(kind), right) for node, kind, right in found])


def _edges(columns: _Columns, times: Times | None) -> EdgeFacts:
    found = zip(columns["edge_id"], columns["from_node_id"], columns["to_node_id"], strict=True)
    return EdgeFacts(times=times, edges=[(str(edge), str(origin), str(target)) for edge, origin, target in found])


def _operations(columns: _Columns, times: Times | None) -> OperationFacts:
    names = ("node_id", "operation_type", "status", "output_data_hash")
    found = enumerate(zip(*(columns[name] for name in names), strict=True))
    completed = [
        (at, str(node), kind, digest)
        for at, (node, kind, status, digest) in found
        if status == "completed" and kind in _OPERATIONS
    ]
    return OperationFacts(times=times, completed=completed)


def _rows(columns: _Columns, times: Times | None) -> RowFacts:
    indexes = list(map(int, cast("Sequence[str]", columns["row_index"])))
    expected = range(indexes[0], indexes[0] + len(indexes))
    gap = None
    if indexes != list(expected):
        gap = next(at for at, (index, wanted) in enumerate(zip(indexes, expected, strict=True)) if index != wanted)
    sources = cast("Sequence[str]", columns["source_node_id"])
    return RowFacts(times=times, first_index=indexes[0], gap_at=gap, sources=sources)


def _tokens(columns: _Columns, times: Times | None) -> TokenFacts:
    made: list[tuple[int, int, bytes]] = []
    for name, kind in _GROUPS.items():
        places = _places(columns[name])
        groups = compact([columns[name][at] for at in places]) if places else []
        made += [(at, kind, group) for at, group in zip(places, groups, strict=True)]
    return TokenFacts(times=times, made=sorted(made))


def _places(values: _Values) -> list[int]:
    """Return the places of values that are not null."""
    if values.count(None) == len(values):
        return []
    return [at for at, value in enumerate(values) if value is not None]


def _states(columns: _Columns, times: Times | None) -> StateFacts:
    steps, attempts = _numbers(columns["step_index"], STEPS), _numbers(columns["attempt"], ATTEMPTS)
    ends = {status: _STATUS.get(status, UNFINISHED) for status in set(columns["status"])}
    found = zip(columns["step_index"], columns["attempt"], columns["status"], strict=True)
    rests = [steps[step] << 20 | attempts[attempt] << 16 | ends[status] for step, attempt, status in found]
    return StateFacts(times=times, nodes=cast("Sequence[str]", columns["node_id"]), rests=array("I", rests))


def _numbers(values: _Values, limit: int) -> Mapping[str | None, int]:
    """Return the numbers that different texts stand for; the largest below the limit for those that are not."""
    return {text: min(int(text or 0), limit - 1) for text in set(values)}


def _events(columns: _Columns, times: Times | None) -> EventFacts:
    found = zip(columns["edge_id"], columns["mode"], strict=True)
    return EventFacts(times=times, routes=[(str(edge), _MODES.get(mode, 0)) for edge, mode in found])


def _batches(columns: _Columns, times: Times | None) -> BatchFacts:
    found = zip(columns["aggregation_node_id"], columns["status"], strict=True)
    return BatchFacts(times=times, batches=[(str(node), status == "completed") for node, status in found])


def _outputs(columns: _Columns, times: Times | None) -> OutputFacts:
    found = zip(columns["output_type"], columns["output_id"], strict=True)
    return OutputFacts(times=times, tokens=[compact([key])[0] if kind == "token" else None for kind, key in found])


def _artifacts(columns: _Columns, times: Times | None) -> ArtifactFacts:
    names = ("sink_node_id", "path_or_uri", "content_hash", "size_bytes")
    found = zip(*(columns[name] for name in names), strict=True)
    artifacts: list[tuple[str, Mapping[str, str | int]]] = [
        (str(node), {"path": str(path), "content_hash": str(digest), "size_bytes": int(str(size))})
        for node, path, digest, size in found
    ]
    return ArtifactFacts(times=times, artifacts=artifacts)


def _outcomes(columns: _Columns, times: Times | None) -> OutcomeFacts:
    found = zip(columns["outcome"], columns["is_terminal"], strict=True)
    codes = [_CODES.get(outcome, len(OUTCOMES) + 1) if final == "true" else 0 for outcome, final in found]
    endings = []
    for name, kind in _GROUPS.items():
        for at in _places(columns[name]):
            [group] = compact([columns[name][at]])
            expected = _expected(columns["expected_branches_json"][at])
            late = _is_late(columns["context_json"][at])
            endings.append(Ending(at=at, kind=kind, group=group, expected=expected, is_late=late))
    return OutcomeFacts(times=times, codes=array("B", codes), sinks=columns["sink_name"], endings=endings)


def _expected(text: str | None) -> int | None:
    """Return how many children an outcome expects: a list of branches after a fork, a count after an expansion."""
    if text is None:
        return None
    value = _parsed(text)
    if isinstance(value, list):
        return len(value)
    count = value.get("count") if isinstance(value, dict) else None
    return count if isinstance(count, int) and not isinstance(count, bool) else -1


def _is_late(text: str | None) -> bool:
    value = None if text is None else _parsed(text)
    return isinstance(value, dict) and value.get("merged") is False


def _parsed(text: str) -> object:
    try:
        value: object = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value


_READERS: Mapping[str, Callable[[_Columns, Times | None], Facts]] = {
    "run": _run,
    "node": _nodes,
    "edge": _edges,
    "operation": _operations,
    "row": _rows,
    "token": _tokens,
    "node_state": _states,
    "routing_event": _events,
    "batch": _batches,
    "batch_output": _outputs,
    "artifact": _artifacts,
    "token_outcome": _outcomes,
}
