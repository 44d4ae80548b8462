"""Checks the ways of tokens between nodes.

This proves the laws of visits and routes.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, islice, pairwise
from operator import le
from typing import cast

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
    Values,
    edge_code,
    node_of,
    present,
    put_at,
    value_at,
)

__all__ = [
    "COMPLETED",
    "FAILED",
    "LEDGERS",
    "NEXT_STEP",
    "NODE_MASK",
    "NO_JOURNEY",
    "Journey",
    "judge",
    "visits_by_token",
]

COMPLETED, FAILED, _UNFINISHED = 0, 1, 2
_STATUS: Mapping[str | None, int] = {"completed": COMPLETED, "failed": FAILED}
_MOVE, _COPY, _DIVERT = 1, 2, 3
_MODES: Mapping[str | None, int] = {"move": _MOVE, "copy": _COPY, "divert": _DIVERT}

# A visit takes 64 bits: step (12), attempt (32), node (14), status (2). As numbers, visits sort in this order.
_MAX_STEPS, _STEP_BIT = 1 << 12, 48
_MAX_ATTEMPTS, _ATTEMPT_BIT = 1 << 32, 16
_NODE_BIT = 2
_STATUS_MASK = _MODE_MASK = 3

# The place of a visit is its step above 16 bits of its node.
NEXT_STEP, NODE_MASK = 1 << 16, 0xFFFF


@dataclass(frozen=True, slots=True, kw_only=True)
class _VisitFacts:
    """The node of each visit, and its other values."""

    nodes: Sequence[str]
    bits: array[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class _EventFacts:
    """Edge and mode of each routing event."""

    routes: Sequence[tuple[str, int]]


def _read_visits(columns: Columns) -> _VisitFacts:
    steps = _bounded(columns["step_index"], _MAX_STEPS)
    attempts = _bounded(columns["attempt"], _MAX_ATTEMPTS)
    statuses = {status: _STATUS.get(status, _UNFINISHED) for status in set(columns["status"])}
    found = zip(columns["step_index"], columns["attempt"], columns["status"], strict=True)
    bits = [
        steps[step] << _STEP_BIT | attempts[attempt] << _ATTEMPT_BIT | statuses[status]
        for step, attempt, status in found
    ]
    return _VisitFacts(nodes=cast("Sequence[str]", columns["node_id"]), bits=array("Q", bits))


def _bounded(values: Values, limit: int) -> Mapping[str | None, int]:
    """Return texts of numbers with their values, bounded by `limit`."""
    return {text: min(int(text or 0), limit - 1) for text in set(values)}


def _enter_visits(account: Account, first: int, facts: _VisitFacts, links: Links) -> None:
    nowhere = NOWHERE << _NODE_BIT
    nodes = {node: account.node(node) << _NODE_BIT for node in set(facts.nodes)}
    if nowhere in nodes.values():
        index = next(index for index, node in enumerate(facts.nodes) if nodes[node] == nowhere)
        account.breach(Law.VISITS, "node_state", first + index, "expected a visit to a node of the run")
    account.visitors.extend(present(links[0]))
    account.visits.extend([bits | nodes[node] for bits, node in zip(facts.bits, facts.nodes, strict=True)])


def _read_events(columns: Columns) -> _EventFacts:
    found = zip(columns["edge_id"], columns["mode"], strict=True)
    return _EventFacts(routes=[(str(edge), _MODES.get(mode, 0)) for edge, mode in found])


def _enter_events(account: Account, first: int, facts: _EventFacts, links: Links) -> None:
    edges, visits, routed = account.edges, account.visits, account.routed
    for index, (visit, (edge, mode)) in enumerate(zip(present(links[0]), facts.routes, strict=True)):
        origin, target = edges.get(edge, (NOWHERE, NOWHERE))
        if origin == NOWHERE or origin != node_of(visits[visit]):
            problem = f"expected an edge that begins where its visit was, got {shown(edge)}"
            account.breach(Law.ROUTES, "routing_event", first + index, problem)
        before = value_at(routed, visit)
        if before and (mode != _COPY or before & _MODE_MASK != _COPY):
            problem = "expected a visit to send its token one way, or copies of it along several"
            account.breach(Law.ROUTES, "routing_event", first + index, problem)
        put_at(routed, visit, target << 2 | mode)
        if mode == _COPY:
            token = account.visitors[visit]
            put_at(account.copies, token, value_at(account.copies, token) + 1)


LEDGERS: Mapping[str, AnyLedger] = {
    "node_state": Ledger(
        columns={
            "token_id": TEXT,
            "node_id": TEXT,
            "step_index": INTEGER,
            "attempt": INTEGER,
            "status": TEXT,
            "started_at": TIME,
            "completed_at": TIME + OR_NULL,
        },
        links={"token_id": "token"},
        read=_read_visits,
        enter=_enter_visits,
    ),
    "routing_event": Ledger(
        columns={"state_id": TEXT, "edge_id": TEXT, "mode": TEXT, "created_at": TIME},
        links={"state_id": "node_state"},
        read=_read_events,
        enter=_enter_events,
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Journey:
    """The visits of a token, and their problems.

    `first` and `last` are the places of the first and last visit. `visits` and `routes` are the problems with them, or
    None.
    """

    first: int
    last: int
    last_status: int
    nodes: Sequence[int]
    visits: str | None
    routes: str | None

    @property
    def last_node(self) -> int:
        """The node that was visited last."""
        return self.last & NODE_MASK


NO_JOURNEY = Journey(
    first=NOWHERE,
    last=NOWHERE,
    last_status=COMPLETED,
    nodes=(),
    visits="expected a visit to a node, got none",
    routes=None,
)


def visits_by_token(account: Account) -> Iterator[tuple[int, bytes, bytes]]:
    """Yield every token with its visits and routes."""
    visitors, visits, routed = account.visitors, account.visits, account.routed
    if all(map(le, visitors, islice(visitors, 1, None))):
        position, end = 0, len(visitors)
        for token in range(len(account.rows)):
            start = position
            while position < end and visitors[position] == token:
                position += 1
            yield token, visits[start:position].tobytes(), routed[start:position].tobytes()
        return
    # Visits are recorded when they end, so those of one token may be far apart. This is a counting sort, which takes
    # four bytes per visit.
    ends = array("I", bytes(4 * len(account.rows)))
    for visitor in visitors:
        ends[visitor] += 1
    positions = array("I", accumulate(ends, initial=0))
    order = array("I", bytes(4 * len(visitors)))
    for visit, visitor in enumerate(visitors):
        order[positions[visitor]] = visit
        positions[visitor] += 1
    start = 0
    for token in range(len(account.rows)):
        own = order[start : positions[token]]
        start = positions[token]
        found = array("Q", [visits[visit] for visit in own])
        yield token, found.tobytes(), array("I", [value_at(routed, visit) for visit in own]).tobytes()


def judge(account: Account, visits: bytes, routes: bytes) -> Journey:
    passed, routed = array("Q", visits), array("I", routes)
    routed.extend([0] * (len(passed) - len(routed)))
    pairs = sorted(zip(passed, routed, strict=True))
    if not pairs:
        return NO_JOURNEY
    step_problems = [_step_problem(account, before, visit) for (before, _), (visit, _) in pairwise(pairs)]
    following = [*(visit for visit, _ in pairs[1:]), None]
    route_problems = [_route_problem(account, *pair, after) for pair, after in zip(pairs, following, strict=True)]
    return Journey(
        first=_place(pairs[0][0]),
        last=_place(pairs[-1][0]),
        last_status=pairs[-1][0] & _STATUS_MASK,
        nodes=[node_of(visit) for visit in passed],
        visits=next(filter(None, step_problems), None),
        routes=next(filter(None, route_problems), None),
    )


def _step_problem(account: Account, before: int, visit: int) -> str | None:
    """Return the problem of two consecutive visits, or None."""
    nodes = node_of(before), node_of(visit)
    step = (visit >> _STEP_BIT) - (before >> _STEP_BIT)
    if step == 0 and nodes[0] == nodes[1]:
        return None  # another attempt
    if step != 1:
        return "expected its visits to follow each other step by step, got a gap, or two at one step"
    if edge_code(*nodes) not in account.edge_codes:
        return "expected its visits to follow each other along edges, got two that no edge connects"
    return None


def _route_problem(account: Account, visit: int, route: int, after: int | None) -> str | None:
    """Return the problem of a visit's route, or None."""
    mode, target, status = route & _MODE_MASK, route >> 2, visit & _STATUS_MASK
    goes_on = after is not None and after >> _STEP_BIT == (visit >> _STEP_BIT) + 1
    if status == COMPLETED and account.node_type(node_of(visit)) == "gate" and mode not in {_MOVE, _COPY}:
        return "expected the decision of a gate to be recorded, got none"
    if status == FAILED and goes_on and mode != _DIVERT:
        return "expected a record of why a token went on after a failure, got none"
    if mode in {_MOVE, _DIVERT} and not (goes_on and after is not None and node_of(after) == target):
        return "expected it to go where it was sent, got another way"
    return "expected it to be moved, copied or diverted, got something else" if route and not mode else None


def _place(visit: int) -> int:
    return visit >> _STEP_BIT << 16 | node_of(visit)
