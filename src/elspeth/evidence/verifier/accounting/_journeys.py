"""Checks the journey of every token, from origin to end.

This proves the laws of readings, origins and outcomes. Most tokens of a run take one of a few journeys. Each journey is
judged once; a further token that takes it is recognised by the bytes of its visits.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Mapping
from typing import TypeAlias

from elspeth.evidence.format.laws import Law
from elspeth.evidence.verifier.accounting._account import (
    EXPAND,
    FORK,
    JOIN,
    OUTCOMES,
    Account,
    edge_code,
    outcome_of,
    put_at,
    sink_of,
    value_at,
)
from elspeth.evidence.verifier.accounting._visits import (
    COMPLETED,
    FAILED,
    NEXT_STEP,
    NO_JOURNEY,
    NODE_MASK,
    Journey,
    judge,
    visits_by_token,
)

__all__ = ["follow_tokens"]

_KNOWN = 20_000
"""The largest number of journeys that are kept."""

_CODES = {name: code for code, name in enumerate(OUTCOMES, start=1)}
_ENDS_AT = {
    _CODES["forked"]: "gate",
    _CODES["expanded"]: "transform",
    _CODES["dropped"]: "transform",
    _CODES["coalesced"]: "coalesce",
    _CODES["consumed_in_batch"]: "aggregation",
}
"""The type of the node that a token visits last, by outcome."""
_FAILURES = frozenset({_CODES["failed"], _CODES["quarantined"]})
_AT_SINKS = _FAILURES | {_CODES["completed"], _CODES["routed"]}
"""Outcomes at a sink. Failures may also end without one."""
_CONSUMED = _CODES["consumed_in_batch"]
_BECOMES = {FORK: _CODES["forked"], EXPAND: _CODES["expanded"], JOIN: _CODES["coalesced"]}


_Key: TypeAlias = tuple[bytes, bytes, int, int]
"""The visits, their routes, the source of the row, and the outcome."""


def follow_tokens(account: Account, origins: array[int]) -> Mapping[int, int]:
    """Check the journeys of all tokens.

    `origins` holds for each token the number of the batch that it came out of plus 1, or 0. Returns the number of
    tokens that ended at each sink.
    """
    follower = _Follower(account, origins)
    follower.follow()
    return follower.written


class _Follower:
    def __init__(self, account: Account, origins: array[int]) -> None:
        self.written: Counter[int] = Counter()
        self._account = account
        self._origins = origins
        self._sound: dict[_Key, tuple[int, int]] = {}
        """For each sound journey, how often its tokens read their row, and how many tokens have taken it."""
        self._journeys: dict[tuple[bytes, bytes], Journey] = {}
        self._readings = bytearray(len(account.sources))
        """How often each row was read; 2 stands for more than once."""
        self._sink_nodes: dict[int, int] = {}
        columns = (account.made, account.became, account.consumed, origins)
        self._relations = [column for column in columns if column]
        """What relates a token to others."""
        self._firsts: array[int] = array("I")
        """The place where a token begins, for tokens that were made from others or came out of a batch."""
        self._group_ends: array[int] = array("I", [0]) * len(account.groups.kinds)
        """For each group, the last place of its parents plus 1."""

    def follow(self) -> None:
        account = self._account
        for token, visits, routes in visits_by_token(account):
            row = account.rows[token]
            key = (visits, routes, account.sources[row], value_at(account.ended, token))
            known = self._sound.get(key)
            if known is not None and self._relations and self._is_related(token):
                known = None
            if known is None:
                self._check(token, row, key)
            else:
                self._sound[key] = (known[0], known[1] + 1)
                if known[0]:
                    self._count_readings(row, known[0])
        for (visits, routes, _, _), (_, count) in self._sound.items():
            self._count_written(self._journey(visits, routes), count)
        self._check_origins()
        self._check_readings()

    def _journey(self, visits: bytes, routes: bytes) -> Journey:
        found = self._journeys.get((visits, routes))
        if found is None:
            found = judge(self._account, visits, routes)
            if len(self._journeys) < _KNOWN:
                self._journeys[visits, routes] = found
        return found

    def _is_related(self, token: int) -> bool:
        return any(token < len(column) and column[token] for column in self._relations)

    def _count_readings(self, row: int, times: int) -> None:
        self._readings[row] = min(self._readings[row] + times, 2)

    def _count_written(self, journey: Journey, count: int) -> None:
        if journey.last_status == COMPLETED and self._account.node_type(journey.last_node) == "sink":
            self.written[journey.last_node] += count

    def _check(self, token: int, row: int, key: _Key) -> None:
        """Check a token with a new journey, or with relations."""
        account = self._account
        visits, routes, source, ended = key
        journey, before = self._journey(visits, routes), len(account.breaches)
        for law, problem in ((Law.VISITS, journey.visits), (Law.ROUTES, journey.routes)):
            if problem is not None:
                account.breach(law, "token", token, problem)
        if ended:
            self._check_end(token, ended, journey)
        readings = journey.nodes.count(source)
        self._count_readings(row, readings)
        made, came_out = value_at(account.made, token), value_at(self._origins, token)
        if bool(readings) + bool(made) + bool(came_out) != 1:
            problem = "expected it to be sent by the source, to be made from others, or to come out of a batch"
            account.breach(Law.ORIGINS, "token", token, problem)
        if made or came_out:
            put_at(self._firsts, token, journey.first)
        if became := value_at(account.became, token):
            self._check_parent(token, became - 1, outcome_of(ended), journey)
        if self._is_related(token) or len(account.breaches) > before or len(self._sound) >= _KNOWN:
            self._count_written(journey, 1)
        else:
            self._sound[key] = (readings, 1)

    def _check_end(self, token: int, ended: int, journey: Journey) -> None:
        account, code, sink = self._account, outcome_of(ended), sink_of(ended)
        node, status = journey.last_node, journey.last_status
        kind = account.node_type(node)
        if code in _AT_SINKS and sink:
            is_right = status == COMPLETED and kind == "sink"
            is_right = is_right and self._sink_nodes.setdefault(sink, node) == node
        elif code in _FAILURES:
            is_right = status == FAILED and not sink
        else:
            is_right = status == COMPLETED and kind == _ENDS_AT.get(code) and not sink
        if not is_right and journey is not NO_JOURNEY:
            problem = "expected an outcome as the last visit shows it, at the node that the sink's name stands for"
            account.breach(Law.OUTCOMES, "token", token, problem)
        batch = value_at(account.consumed, token)
        if (code == _CONSUMED) != bool(batch) or (batch and account.batch_nodes[batch - 1] != node):
            problem = "expected a token that was consumed, and no other, to end at the node of the batch that it names"
            account.breach(Law.BATCHES, "token", token, problem)

    def _check_parent(self, token: int, group: int, outcome: int, journey: Journey) -> None:
        """Check a token that became others.

        Keeps its last place for the check of its children.
        """
        account = self._account
        if _BECOMES[account.groups.kinds[group]] != outcome:
            account.breach(Law.GROUPS, "token", token, "expected the outcome of a token that became others")
        before = self._group_ends[group]
        if before and (before - 1) & NODE_MASK != journey.last_node:
            account.breach(Law.ORIGINS, "token", token, "expected all that were merged to end at one node")
        self._group_ends[group] = max(before, journey.last + 1)

    def _check_origins(self) -> None:
        account = self._account
        for token, first in enumerate(self._firsts):
            made, came_out = value_at(account.made, token), value_at(self._origins, token)
            node = first & NODE_MASK
            if made:
                end = self._group_ends[made - 1] - 1
                follows = end >= 0 and first - node == end - (end & NODE_MASK) + NEXT_STEP
                is_right = follows and edge_code(end & NODE_MASK, node) in account.edge_codes
            elif came_out:
                is_right = edge_code(account.batch_nodes[came_out - 1], node) in account.edge_codes
            else:
                continue
            if not is_right:
                problem = "expected it to begin one step behind what it came from, along an edge"
                account.breach(Law.ORIGINS, "token", token, problem)

    def _check_readings(self) -> None:
        account, readings = self._account, self._readings
        for source in set(account.sources):
            if account.node_type(source) != "source":
                row = account.sources.index(source)
                account.breach(Law.READINGS, "row", row, "expected a source among the nodes of the run, got another")
        if readings.count(1) != len(readings):
            row = next(row for row, times in enumerate(readings) if times != 1)
            problem = "expected one visit to its source, got " + ("more" if readings[row] else "none")
            account.breach(Law.READINGS, "row", row, problem)
