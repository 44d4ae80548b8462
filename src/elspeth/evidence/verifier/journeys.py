"""What the laws of accounting ask when all records were read: the way of every token from its origin to its end.

Most tokens of a run take one of a few ways. A way is judged once; for every further token that takes it nothing is done
but to compare the bytes that stand for it.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import accumulate, islice, pairwise
from operator import le
from typing import TypeAlias

from elspeth.evidence.format.canonical import canonical
from elspeth.evidence.format.laws import Law
from elspeth.evidence.verifier.accountant import NOWHERE, Account, at, code_of, node_of, put, sink_of, way
from elspeth.evidence.verifier.facts import COMPLETED, COPY, DIVERT, EXPAND, FAILED, FORK, JOIN, MOVE, OUTCOMES

__all__ = ["close"]

_KNOWN = 20_000
"""Ways that are remembered."""

_STEP_BIT, _STEP = 20, 1 << 16
_END, _MODE, _BATCH = 3, 3, 0xFFFFFFFF

_CODES = {name: number for number, name in enumerate(OUTCOMES, start=1)}
_ENDS_AT = {
    _CODES["forked"]: "gate",
    _CODES["expanded"]: "transform",
    _CODES["coalesced"]: "coalesce",
    _CODES["consumed_in_batch"]: "aggregation",
}
"""The type of the node that a token visited last."""
_FAILURES = frozenset({_CODES["failed"], _CODES["quarantined"]})
_AT_SINKS = _FAILURES | {_CODES["completed"], _CODES["routed"]}
"""Failures may end without a sink."""
_CONSUMED = _CODES["consumed_in_batch"]
_BECOMES = {FORK: _CODES["forked"], EXPAND: _CODES["expanded"], JOIN: _CODES["coalesced"]}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Way:
    """The visits of a token: the first and the last, all their nodes, and what is wrong with them."""

    first: int
    """Step and node, as `_place` has them."""
    last: int
    last_end: int
    nodes: Sequence[int]
    visits: str | None
    routes: str | None

    @property
    def last_node(self) -> int:
        """The number of the node that was visited last."""
        return self.last & _NODE


_NODE = 0xFFFF
_NO_WAY = _Way(
    first=NOWHERE,
    last=NOWHERE,
    last_end=COMPLETED,
    nodes=(),
    visits="expected a visit to a node, got none",
    routes=None,
)

_Key: TypeAlias = tuple[bytes, bytes, int, int]
"""Visits and where they were routed, the source of the row, and how the token ended."""


def close(account: Account) -> None:
    """Take note of every law that is broken, when all records were taken."""
    _Journeys(account).follow()
    _check_groups(account)
    row = account.carried.find(0)
    if row >= 0:
        account.breach(Law.TOKENS, "row", row, "expected a token of this row, got none")
    if len(account.ended) < len(account.rows) or 0 in account.ended:
        token = account.ended.index(0) if 0 in account.ended else len(account.ended)
        missing = len(account.rows) - len(account.ended) + account.ended.count(0)
        problem = f"expected a terminal outcome of every token, got none of {missing:,} of {len(account.rows):,}"
        account.breach(Law.ENDS, "token", token, problem)


class _Journeys:
    def __init__(self, account: Account) -> None:
        self._account = account
        self._sound: dict[_Key, tuple[int, int]] = {}
        """How often a token that goes this way reads its row, and how many have gone: ways that break no law."""
        self._ways: dict[tuple[bytes, bytes], _Way] = {}
        self._readings = bytearray(len(account.sources))
        self._written: Counter[int] = Counter()
        """By node of a sink, how many tokens ended there."""
        self._sink_nodes: dict[int, int] = {}
        self._origins: array[int] = array("I")
        """By token, the batch that it came out of, plus 1."""
        self._relations: Sequence[array[int]] = ()
        """By token, what makes it have to do with others."""
        self._firsts: array[int] = array("I")
        """By token that was made of others or came out of a batch, where it begins."""
        self._group_ends: array[int] = array("I", [0]) * len(account.groups.kinds)
        """By group, where the last of its parents ended, plus 1."""

    def follow(self) -> None:
        """Follow every token."""
        account = self._account
        self._check_batches()
        columns = (account.made, account.became, account.consumed, self._origins)
        self._relations = [column for column in columns if column]
        for token, visits, routes in _tokens(account):
            row = account.rows[token]
            key = (visits, routes, account.sources[row], at(account.ended, token))
            known = self._sound.get(key)
            if known is not None and self._relations and self._is_related(token):
                known = None
            if known is None:
                self._check(token, row, key)
            else:
                self._sound[key] = (known[0], known[1] + 1)
                if known[0]:
                    self._read(row, known[0])
        for (visits, routes, _, _), (_, count) in self._sound.items():
            self._write(self._way(visits, routes), count)
        self._check_origins()
        self._check_readings()
        self._check_outputs()

    def _way(self, visits: bytes, routes: bytes) -> _Way:
        """Return what there is to say of a way; those that were judged are remembered."""
        found = self._ways.get((visits, routes))
        if found is None:
            found = _judged(self._account, visits, routes)
            if len(self._ways) < _KNOWN:
                self._ways[visits, routes] = found
        return found

    def _is_related(self, token: int) -> bool:
        """Return whether a token has to do with others."""
        return any(token < len(column) and column[token] for column in self._relations)

    def _read(self, row: int, times: int) -> None:
        self._readings[row] = min(self._readings[row] + times, 2)

    def _write(self, found: _Way, count: int) -> None:
        if found.last_end == COMPLETED and self._type_of(found.last_node) == "sink":
            self._written[found.last_node] += count

    def _type_of(self, node: int) -> str:
        return self._account.node_types[node] if node < len(self._account.node_types) else ""

    def _check(self, token: int, row: int, key: _Key) -> None:
        """Judge a token that goes a way of its own, or has to do with others."""
        account = self._account
        visits, routes, source, ended = key
        found, before = self._way(visits, routes), len(account.breaches)
        for law, problem in ((Law.VISITS, found.visits), (Law.ROUTES, found.routes)):
            if problem is not None:
                account.breach(law, "token", token, problem)
        if ended:
            self._check_end(token, ended, found)
        readings = found.nodes.count(source)
        self._read(row, readings)
        made, came = at(account.made, token), at(self._origins, token)
        if bool(readings) + bool(made) + bool(came) != 1:
            problem = "expected it to be sent by the source, to be made of others, or to come out of a batch"
            account.breach(Law.ORIGINS, "token", token, problem)
        if made or came:
            put(self._firsts, token, found.first)
        if became := at(account.became, token):
            self._become(token, became - 1, code_of(ended), found)
        if self._is_related(token) or len(account.breaches) > before or len(self._sound) >= _KNOWN:
            self._write(found, 1)
        else:
            self._sound[key] = (readings, 1)

    def _check_end(self, token: int, ended: int, found: _Way) -> None:
        account, code, sink = self._account, code_of(ended), sink_of(ended)
        kind, node = self._type_of(found.last_node), found.last_node
        if code in _AT_SINKS and sink:
            is_right = found.last_end == COMPLETED and kind == "sink"
            is_right = is_right and self._sink_nodes.setdefault(sink, node) == node
        elif code in _FAILURES:
            is_right = found.last_end == FAILED and not sink
        else:
            is_right = found.last_end == COMPLETED and kind == _ENDS_AT.get(code) and not sink
        if not is_right and found is not _NO_WAY:
            problem = "expected an outcome as the last visit shows it, at the node that the sink's name stands for"
            account.breach(Law.OUTCOMES, "token", token, problem)
        batch = at(account.consumed, token)
        if (code == _CONSUMED) != bool(batch) or (batch and account.batch_nodes[batch - 1] != node):
            problem = "expected a token that was consumed, and no other, to end at the node of the batch that it names"
            account.breach(Law.BATCHES, "token", token, problem)

    def _become(self, token: int, group: int, code: int, found: _Way) -> None:
        """Take note of where a parent ended."""
        account = self._account
        if _BECOMES[account.groups.kinds[group]] != code:
            problem = "expected the outcome of a token that became others"
            account.breach(Law.GROUPS, "token", token, problem)
        before = self._group_ends[group]
        if before and (before - 1) & _NODE != found.last_node:
            account.breach(Law.ORIGINS, "token", token, "expected all that were merged to end at one node")
        self._group_ends[group] = max(before, found.last + 1)

    def _check_batches(self) -> None:
        """Compare members with what was consumed and what came out; what came out without being a member is new."""
        account = self._account
        outputs = sorted(account.outputs)
        members = sorted(account.members)
        consumed, position = 0, 0
        for member in members:
            while position < len(outputs) and outputs[position] < member:
                self._come_out(outputs[position])
                position += 1
            came_out = position < len(outputs) and outputs[position] == member
            position += came_out
            token, batch = member >> 32, member & _BATCH
            is_consumed = at(account.consumed, token) == batch + 1
            consumed += is_consumed
            if bool(account.batch_is_completed[batch]) != (is_consumed or came_out):
                problem = (
                    "expected every member of a completed batch, and no other, to be consumed or to come out of it"
                )
                account.breach(Law.BATCHES, "token", token, problem)
        for output in outputs[position:]:
            self._come_out(output)
        if consumed != len(account.consumed) - account.consumed.count(0):
            pairs = ((token, token << 32 | batch - 1) for token, batch in enumerate(account.consumed) if batch)
            known = set(members)
            token = next(token for token, pair in pairs if pair not in known)
            account.breach(
                Law.BATCHES, "token", token, "expected a token that was consumed to be a member of the batch"
            )

    def _come_out(self, output: int) -> None:
        token, batch = output >> 32, output & _BATCH
        if at(self._origins, token):
            self._account.breach(Law.ORIGINS, "token", token, "expected it to come out of one batch, got several")
        put(self._origins, token, batch + 1)

    def _check_origins(self) -> None:
        account = self._account
        for token, first in enumerate(self._firsts):
            made, came = at(account.made, token), at(self._origins, token)
            node = first & _NODE
            if made:
                end = self._group_ends[made - 1] - 1
                is_right = (
                    end >= 0 and first - node == end - (end & _NODE) + _STEP and way(end & _NODE, node) in account.ways
                )
            elif came:
                is_right = way(account.batch_nodes[came - 1], node) in account.ways
            else:
                continue
            if not is_right:
                problem = "expected it to begin one step behind what it came from, along an edge"
                account.breach(Law.ORIGINS, "token", token, problem)

    def _check_readings(self) -> None:
        account, readings = self._account, self._readings
        for source in set(account.sources):
            if self._type_of(source) != "source":
                row = account.sources.index(source)
                account.breach(Law.READINGS, "row", row, "expected a source among the nodes of the run, got another")
        if readings.count(1) != len(readings):
            row = next(row for row, times in enumerate(readings) if times != 1)
            problem = (
                "expected one visit to its source, got none" if not readings[row] else "expected one visit, got more"
            )
            account.breach(Law.READINGS, "row", row, problem)

    def _check_outputs(self) -> None:
        account = self._account
        rows = Counter(account.sources)
        for kind, node_type in (("source_load", "source"), ("sink_write", "sink")):
            for node, found in enumerate(account.node_types):
                if found == node_type and (node, kind) not in account.operations:
                    account.breach(Law.OUTPUTS, "node", node, f"expected a completed {kind} of this {found}, got none")
        if "source" not in account.node_types:
            account.breach(Law.OUTPUTS, "run", 0, "expected a source among the nodes of the run, got none")
        for (node, kind), (number, digest) in account.operations.items():
            count = rows[node] if kind == "source_load" else self._written[node]
            artifacts = account.artifacts.get(node, []) if kind == "sink_write" else []
            if digest is None or (kind == "sink_write" and not count and not artifacts):
                continue  # nothing that could be compared: a sink without rows may have made an output without artifact
            told: list[Mapping[str, str | int]] = [{"rows": count, **artifact} for artifact in artifacts]
            if digest not in {sha256(canonical(each)).hexdigest() for each in told or [{"rows": count}]}:
                problem = (
                    f"expected the result of {count:,} rows, and of the artifact if there is one, got another hash"
                )
                account.breach(Law.OUTPUTS, "operation", number, problem)


def _tokens(account: Account) -> Iterator[tuple[int, bytes, bytes]]:
    """Yield every token with its visits and where they were routed."""
    visitors, visits, routed = account.visitors, account.visits, account.routed
    if all(map(le, visitors, islice(visitors, 1, None))):
        position, end = 0, len(visitors)
        for token in range(len(account.rows)):
            start = position
            while position < end and visitors[position] == token:
                position += 1
            yield token, visits[start:position].tobytes(), routed[start:position].tobytes()
        return
    # A visit is recorded when it ends, or where others are waited for: sorted by counting, in four bytes a visit.
    ends = array("I", bytes(4 * len(account.rows)))
    for visitor in visitors:
        ends[visitor] += 1
    places = array("I", accumulate(ends, initial=0))
    order = array("I", bytes(4 * len(visitors)))
    for number, visitor in enumerate(visitors):
        order[places[visitor]] = number
        places[visitor] += 1
    start = 0
    for token in range(len(account.rows)):
        mine = order[start : places[token]]
        start = places[token]
        found = array("I", [visits[number] for number in mine])
        yield token, found.tobytes(), array("I", [at(routed, number) for number in mine]).tobytes()


def _judged(account: Account, visits: bytes, routes: bytes) -> _Way:
    """Judge the visits of a token, and where they were routed."""
    passed, routed = array("I", visits), array("I", routes)
    routed.extend([0] * (len(passed) - len(routed)))
    pairs = sorted(zip(passed, routed, strict=True))
    if not pairs:
        return _NO_WAY
    problems = [_step_problem(account, before, visit) for (before, _), (visit, _) in pairwise(pairs)]
    following = [*(visit for visit, _ in pairs[1:]), None]
    wrong = [_route_problem(account, *pair, after) for pair, after in zip(pairs, following, strict=True)]
    return _Way(
        first=_place(pairs[0][0]),
        last=_place(pairs[-1][0]),
        last_end=pairs[-1][0] & _END,
        nodes=[node_of(visit) for visit in passed],
        visits=next(filter(None, problems), None),
        routes=next(filter(None, wrong), None),
    )


def _step_problem(account: Account, before: int, visit: int) -> str | None:
    """Return what is wrong with two visits that follow each other, if anything is."""
    nodes = node_of(before), node_of(visit)
    step = (visit >> _STEP_BIT) - (before >> _STEP_BIT)
    if step == 0 and nodes[0] == nodes[1]:
        return None  # another attempt
    if step != 1:
        return "expected its visits to follow each other step by step, got a gap, or two at one step"
    if way(*nodes) not in account.ways:
        return "expected its visits to follow each other along edges, got two that no edge leads between"
    return None


def _route_problem(account: Account, visit: int, route: int, after: int | None) -> str | None:
    """Return what is wrong with a visit and where it was routed, if anything is."""
    mode, target, end = route & _MODE, route >> 2, visit & _END
    goes_on = after is not None and after >> _STEP_BIT == (visit >> _STEP_BIT) + 1
    node = node_of(visit)
    if end == COMPLETED and node < NOWHERE and account.node_types[node] == "gate" and mode not in {MOVE, COPY}:
        return "expected the decision of a gate to be recorded, got none"
    if end == FAILED and goes_on and mode != DIVERT:
        return "expected it to be recorded why a token went on after a failure, got nothing"
    if mode in {MOVE, DIVERT} and not (goes_on and after is not None and node_of(after) == target):
        return "expected it to go where it was sent, got another way"
    return "expected it to be moved, copied or diverted, got something else" if route and not mode else None


def _place(visit: int) -> int:
    return visit >> _STEP_BIT << 16 | node_of(visit)


def _check_groups(account: Account) -> None:
    groups = account.groups
    for group, (kind, children, links) in enumerate(zip(groups.kinds, groups.children, groups.links, strict=True)):
        is_right = children == 1 and links if kind == JOIN else links == children
        if not is_right:
            token = account.made.index(group + 1) if group + 1 in account.made else 0
            problem = "expected one parent of each child of a fork or expansion, and some of a merged token"
            account.breach(Law.GROUPS, "token", token, problem)
            return
