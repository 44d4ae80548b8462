"""Keeps account of a run while its records are read: what the laws of accounting ask, in as little memory as possible.

Records of a type are known by their numbers, in the order in which they come. What is kept of a token or a visit is a
few bytes in arrays; what can only be asked when everything was read is asked in `journeys`.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from elspeth.evidence.format.errors import shown
from elspeth.evidence.format.laws import Law
from elspeth.evidence.verifier.facts import (
    COPY,
    EXPAND,
    FORK,
    JOIN,
    NODES,
    OUTCOMES,
    ArtifactFacts,
    BatchFacts,
    EdgeFacts,
    Ending,
    EventFacts,
    Facts,
    NodeFacts,
    OperationFacts,
    OutcomeFacts,
    OutputFacts,
    RowFacts,
    RunRecordFacts,
    StateFacts,
    TokenFacts,
)
from elspeth.evidence.verifier.key_map import KeyMap

__all__ = ["NOWHERE", "Account", "Accountant", "Breach", "at", "code_of", "node_of", "put", "sink_of", "way"]

NOWHERE = NODES - 1
"""The number of a node that is not in the bag, or is one too many."""

_MAX_EDGES = 1 << 16
_MAX_SINKS = (1 << 12) - 1
_CODE_BITS = 4
_ARTIFACTS_KEPT = 8
"""Of one sink, which has one."""

_GROUP_OUTCOMES = {OUTCOMES.index(name) + 1: name for name in ("forked", "expanded", "coalesced")}
_KINDS = {FORK: "forked", EXPAND: "expanded", JOIN: "coalesced"}

Numbers = Sequence[int | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Breach:
    """The first thing that breaks a law: the type and number of the record, and what is wrong with it."""

    record_type: str
    number: int
    problem: str


@dataclass(slots=True, kw_only=True)
class Groups:
    """What a fork, an expansion or a merge tells of itself: kinds, children, links to parents, and the one parent."""

    kinds: array[int] = field(default_factory=lambda: array("B"))
    children: array[int] = field(default_factory=lambda: array("I"))
    links: array[int] = field(default_factory=lambda: array("I"))
    parents: array[int] = field(default_factory=lambda: array("I"))


@dataclass(slots=True, kw_only=True)
class Account:
    """What is kept of a run. Arrays are by the number of the record; where a value may be missing, by that plus 1.

    `ways` are the edges, both ends in one number. Of a token: `rows`, the group that `made` it, the one that it
    `became`, the batch that `consumed` it, how it `ended`, with the sink in the upper bits. Of a visit: its token, what
    `facts` and the number of the node tell of it, and where it was `routed`. `members` and `outputs` of batches are
    pairs of a token and a batch in one number.
    """

    started_at: str = ""
    completed_at: str | None = None
    nodes: dict[str, int] = field(default_factory=dict)
    node_types: list[str] = field(default_factory=list)
    ways: set[int] = field(default_factory=set)
    edges: dict[str, tuple[int, int]] = field(default_factory=dict)
    operations: dict[tuple[int, str], tuple[int, str | None]] = field(default_factory=dict)
    artifacts: dict[int, list[Mapping[str, str | int]]] = field(default_factory=dict)
    sources: array[int] = field(default_factory=lambda: array("H"))
    carried: bytearray = field(default_factory=bytearray)
    rows: array[int] = field(default_factory=lambda: array("I"))
    made: array[int] = field(default_factory=lambda: array("I"))
    became: array[int] = field(default_factory=lambda: array("I"))
    consumed: array[int] = field(default_factory=lambda: array("I"))
    ended: array[int] = field(default_factory=lambda: array("H"))
    visitors: array[int] = field(default_factory=lambda: array("I"))
    visits: array[int] = field(default_factory=lambda: array("I"))
    routed: array[int] = field(default_factory=lambda: array("I"))
    batch_nodes: array[int] = field(default_factory=lambda: array("H"))
    batch_is_completed: bytearray = field(default_factory=bytearray)
    members: array[int] = field(default_factory=lambda: array("Q"))
    outputs: array[int] = field(default_factory=lambda: array("Q"))
    sinks: dict[str, int] = field(default_factory=dict)
    groups: Groups = field(default_factory=Groups)
    breaches: dict[Law, Breach] = field(default_factory=dict)

    def breach(self, law: Law, record_type: str, number: int, problem: str) -> None:
        """Take note of what breaks a law; the first thing stands."""
        self.breaches.setdefault(law, Breach(record_type=record_type, number=number, problem=problem))


class Accountant:
    """Takes what records tell, batch by batch, in the order of the bag."""

    def __init__(self) -> None:
        self.account = Account()
        self._group_keys = KeyMap()
        self._takers: Mapping[type[Facts], Callable[..., None]] = {
            RunRecordFacts: self._take_run,
            NodeFacts: self._take_nodes,
            EdgeFacts: self._take_edges,
            OperationFacts: self._take_operations,
            RowFacts: self._take_rows,
            TokenFacts: self._take_tokens,
            StateFacts: self._take_states,
            EventFacts: self._take_events,
            BatchFacts: self._take_batches,
            OutputFacts: self._take_outputs,
            ArtifactFacts: self._take_artifacts,
            OutcomeFacts: self._take_outcomes,
        }

    def take(self, record_type: str, first: int, facts: Facts, links: Sequence[Numbers], tokens: KeyMap | None) -> None:
        """Take some records of a type, the first of which has the number given.

        `links` are the numbers of the records that they belong to, in the order of `LINKS`; `tokens` are the keys of
        tokens.
        """
        if record_type == "token_parent":
            self._take_parents(first, links)
        elif record_type == "batch_member":
            self.account.members.extend(_pairs(links[1], links[0]))
        elif isinstance(facts, OutputFacts):
            self._take_outputs(first, facts, links, tokens)
        else:
            taker = self._takers.get(type(facts))
            if taker is not None:
                taker(first, facts, links)
        self._check_times(record_type, first, facts)

    def _check_times(self, record_type: str, first: int, facts: Facts) -> None:
        times, account = facts.times, self.account
        if times is None:
            return
        end = account.completed_at
        if times.backwards_at is not None:
            problem = "expected an end that is not before the beginning"
            account.breach(Law.TIMES, record_type, first + times.backwards_at, problem)
        if times.first < account.started_at:
            problem = f"expected a time from {account.started_at} on, when the run began, got {times.first}"
            account.breach(Law.TIMES, record_type, first + times.first_at, problem)
        if end is not None and times.last > end:
            problem = f"expected a time until {end}, when the run ended, got {times.last}"
            account.breach(Law.TIMES, record_type, first + times.last_at, problem)

    def _take_run(self, first: int, facts: RunRecordFacts, _: Sequence[Numbers]) -> None:
        account = self.account
        account.started_at, account.completed_at = facts.started_at, facts.completed_at
        if facts.completed_at is None:
            account.breach(Law.TIMES, "run", first, "expected the time when it ended, got none")
        if not facts.is_hash_right:
            account.breach(
                Law.HASHES, "run", first, "expected in config_hash the SHA-256 of settings_json, got another"
            )

    def _take_nodes(self, first: int, facts: NodeFacts, _: Sequence[Numbers]) -> None:
        account = self.account
        for number, (node, kind, is_right) in enumerate(facts.nodes, start=first):
            if number >= NOWHERE:
                account.breach(Law.VISITS, "node", number, f"expected at most {NOWHERE:,} nodes, got more")
                return
            account.nodes[node] = number
            account.node_types.append(kind)
            if not is_right:
                problem = "expected in config_hash the SHA-256 of config_json, got another"
                account.breach(Law.HASHES, "node", number, problem)

    def _take_edges(self, first: int, facts: EdgeFacts, _: Sequence[Numbers]) -> None:
        account = self.account
        for number, (edge, origin, target) in enumerate(facts.edges, start=first):
            if number >= _MAX_EDGES:
                account.breach(Law.VISITS, "edge", number, f"expected at most {_MAX_EDGES:,} edges, got more")
                return
            ends = account.nodes.get(origin, NOWHERE), account.nodes.get(target, NOWHERE)
            if NOWHERE in ends:
                account.breach(Law.VISITS, "edge", number, "expected an edge between two nodes of the run")
                continue
            account.edges[edge] = ends
            account.ways.add(way(*ends))

    def _take_operations(self, first: int, facts: OperationFacts, _: Sequence[Numbers]) -> None:
        account = self.account
        for place, node, kind, digest in facts.completed:
            key = account.nodes.get(node, NOWHERE), kind
            if key in account.operations:
                problem = f"expected each {kind} to be completed once, got it again for {shown(node)}"
                account.breach(Law.OUTPUTS, "operation", first + place, problem)
            elif key[0] != NOWHERE:
                account.operations[key] = first + place, digest

    def _take_rows(self, first: int, facts: RowFacts, _: Sequence[Numbers]) -> None:
        account = self.account
        if facts.first_index != first or facts.gap_at is not None:
            at = facts.gap_at if facts.first_index == first and facts.gap_at is not None else 0
            problem = f"expected the row_index {first + at:,} next, got another"
            account.breach(Law.NUMBERS, "row", first + at, problem)
        account.sources.extend([account.nodes.get(source, NOWHERE) for source in facts.sources])
        account.carried.extend(bytes(len(facts.sources)))

    def _take_tokens(self, first: int, facts: TokenFacts, links: Sequence[Numbers]) -> None:
        account, rows = self.account, _certain(links[0])
        account.rows.extend(rows)
        for row in set(rows):
            account.carried[row] = 1
        if not facts.made:
            return
        groups = account.groups
        for (place, kind, _), number in zip(facts.made, self._numbers_of_groups(facts.made), strict=True):
            if groups.kinds[number] != kind or at(account.made, first + place):
                problem = "expected it to be made by one fork, one expansion or one merge"
                account.breach(Law.GROUPS, "token", first + place, problem)
                continue
            put(account.made, first + place, number + 1)
            groups.children[number] += 1

    def _numbers_of_groups(self, made: Sequence[tuple[int, int, bytes]]) -> list[int]:
        """Return the numbers of groups, which begin with their first token."""
        keys = [key for _, _, key in made]
        kinds = {key: kind for _, kind, key in reversed(made)}
        known = dict(zip(keys, self._group_keys.find(keys), strict=True))
        new = [key for key in kinds if known[key] is None]
        groups = self.account.groups
        for key in new:
            groups.kinds.append(kinds[key])
        for column in (groups.children, groups.links, groups.parents):
            column.frombytes(bytes(column.itemsize * len(new)))
        self._group_keys.take(new)
        return _certain(self._group_keys.find(keys))

    def _take_parents(self, first: int, links: Sequence[Numbers]) -> None:
        account, groups = self.account, self.account.groups
        for place, (child, parent) in enumerate(zip(_certain(links[0]), _certain(links[1]), strict=True)):
            group = at(account.made, child)
            became = at(account.became, parent)
            if not group:
                problem = "expected a token that a fork, an expansion or a merge made, got one of its own"
                account.breach(Law.GROUPS, "token_parent", first + place, problem)
                continue
            only = groups.parents[group - 1]
            is_join = groups.kinds[group - 1] == JOIN
            if became not in {0, group} or (not is_join and only not in {0, parent + 1}):
                problem = "expected one parent of all children of a fork or expansion, which became nothing else"
                account.breach(Law.GROUPS, "token_parent", first + place, problem)
            put(account.became, parent, group)
            groups.parents[group - 1] = parent + 1
            groups.links[group - 1] += 1

    def _take_states(self, first: int, facts: StateFacts, links: Sequence[Numbers]) -> None:
        account = self.account
        numbers = {node: account.nodes.get(node, NOWHERE) << 2 for node in set(facts.nodes)}
        if NOWHERE << 2 in numbers.values():
            place = next(at for at, node in enumerate(facts.nodes) if numbers[node] == NOWHERE << 2)
            account.breach(Law.VISITS, "node_state", first + place, "expected a visit to a node of the run")
        account.visitors.extend(_certain(links[0]))
        account.visits.extend([rest | numbers[node] for rest, node in zip(facts.rests, facts.nodes, strict=True)])

    def _take_events(self, first: int, facts: EventFacts, links: Sequence[Numbers]) -> None:
        account = self.account
        edges, visits, routed = account.edges, account.visits, account.routed
        for place, (state, (edge, mode)) in enumerate(zip(_certain(links[0]), facts.routes, strict=True)):
            origin, target = edges.get(edge, (NOWHERE, NOWHERE))
            if origin == NOWHERE or origin != node_of(visits[state]):
                problem = f"expected an edge that begins where its visit was, got {shown(edge)}"
                account.breach(Law.ROUTES, "routing_event", first + place, problem)
            before = at(routed, state)
            if before and (mode != COPY or before & 3 != COPY):
                problem = "expected a visit to send its token one way, or copies of it along several"
                account.breach(Law.ROUTES, "routing_event", first + place, problem)
            put(routed, state, target << 2 | mode)

    def _take_batches(self, first: int, facts: BatchFacts, _: Sequence[Numbers]) -> None:  # noqa: ARG002
        account = self.account
        for node, is_completed in facts.batches:
            account.batch_nodes.append(account.nodes.get(node, NOWHERE))
            account.batch_is_completed.append(is_completed)

    def _take_outputs(self, first: int, facts: OutputFacts, links: Sequence[Numbers], tokens: KeyMap | None) -> None:
        account, batches = self.account, _certain(links[0])
        found = [None] * len(batches) if tokens is None else tokens.find(facts.tokens)
        for place, (key, token, batch) in enumerate(zip(facts.tokens, found, batches, strict=True)):
            if token is not None:
                account.outputs.append(token << 32 | batch)
            elif key is not None:
                problem = "expected a token of the run to come out of the batch, got one that is not in the bag"
                account.breach(Law.BATCHES, "batch_output", first + place, problem)

    def _take_artifacts(self, first: int, facts: ArtifactFacts, links: Sequence[Numbers]) -> None:
        account = self.account
        for place, ((node, told), state) in enumerate(zip(facts.artifacts, _certain(links[0]), strict=True)):
            sink = account.nodes.get(node, NOWHERE)
            if sink == NOWHERE or sink != node_of(account.visits[state]):
                problem = "expected an artifact of the sink that the state visited, got another's"
                account.breach(Law.OUTPUTS, "artifact", first + place, problem)
            elif len(kept := account.artifacts.setdefault(sink, [])) < _ARTIFACTS_KEPT:
                kept.append(told)

    def _take_outcomes(self, first: int, facts: OutcomeFacts, links: Sequence[Numbers]) -> None:
        account, tokens = self.account, _certain(links[0])
        sinks = {name: self._sink(name, first) for name in set(facts.sinks)}
        if any(facts.codes):
            reach(account.ended, max(tokens))
        for place, (token, code, sink) in enumerate(zip(tokens, facts.codes, facts.sinks, strict=True)):
            if not code:
                continue
            if account.ended[token]:
                account.breach(Law.ENDS, "token_outcome", first + place, "expected a token that has not ended yet")
            account.ended[token] = sinks[sink] << _CODE_BITS | code
        for place, batch in enumerate(links[1]):
            if batch is not None and facts.codes[place]:
                put(account.consumed, tokens[place], batch + 1)
        told = {ending.at for ending in facts.endings}
        for place, code in enumerate(facts.codes):
            if code in _GROUP_OUTCOMES and place not in told:
                problem = f"expected of a token that was {_GROUP_OUTCOMES[code]} the group, got none"
                account.breach(Law.GROUPS, "token_outcome", first + place, problem)
        self._take_endings(first, facts, tokens)

    def _sink(self, name: str | None, first: int) -> int:
        if name is None:
            return 0
        sinks = self.account.sinks
        if len(sinks) >= _MAX_SINKS and name not in sinks:
            self.account.breach(Law.OUTCOMES, "token_outcome", first, f"expected at most {_MAX_SINKS:,} sinks")
            return 0
        return sinks.setdefault(name, len(sinks) + 1)

    def _take_endings(self, first: int, facts: OutcomeFacts, tokens: Sequence[int]) -> None:
        """Compare what outcomes say of groups with the tokens that are in them."""
        account = self.account
        numbers = self._group_keys.find([ending.group for ending in facts.endings])
        for ending, number in zip(facts.endings, numbers, strict=True):
            kind = _GROUP_OUTCOMES.get(facts.codes[ending.at])
            problem = self._problem(ending, number, tokens[ending.at], kind)
            if problem is not None:
                account.breach(Law.GROUPS, "token_outcome", first + ending.at, problem)

    def _problem(self, ending: Ending, number: int | None, token: int, outcome: str | None) -> str | None:
        groups = self.account.groups
        if outcome != _KINDS[ending.kind]:
            return "expected no group of an outcome that is not about one, or is about another"
        if number is None or groups.kinds[number] != ending.kind:
            return f"expected a token that was made when it was {outcome}, got none"
        became, children = at(self.account.became, token), groups.children[number]
        if ending.kind == JOIN:
            if became == number + 1 or (not became and ending.is_late):
                return None
            return "expected the merge whose parent it is, or one that it came too late for, got another"
        if became != number + 1:
            return f"expected to be the parent of those that were made when it was {outcome}, got others"
        if ending.expected not in {None, children}:
            return f"expected {ending.expected} children, as it says, got {children}"
        return None


def way(origin: int, target: int) -> int:
    """Return the number of the way from one node to another."""
    return origin << 16 | target


def node_of(visit: int) -> int:
    """Return the number of the node of a visit."""
    return visit >> 2 & NODES - 1


def code_of(ended: int) -> int:
    """Return how a token ended: its place among `OUTCOMES`, counted from 1; 0 if it did not."""
    return ended & (1 << _CODE_BITS) - 1


def sink_of(ended: int) -> int:
    """Return the number of the sink where a token ended, counted from 1; 0 for none."""
    return ended >> _CODE_BITS


def at(values: array[int], number: int) -> int:
    """Return a value of an array that ends where the last value is not 0."""
    return values[number] if number < len(values) else 0


def put(values: array[int], number: int, value: int) -> None:
    """Set a value of such an array."""
    reach(values, number)
    values[number] = value


def reach(values: array[int], number: int) -> None:
    """Let such an array have a value for the number."""
    missing = number + 1 - len(values)
    if missing > 0:
        values.frombytes(bytes(missing * values.itemsize))


def _pairs(uppers: Numbers, lowers: Numbers) -> Iterable[int]:
    return [upper << 32 | lower for upper, lower in zip(_certain(uppers), _certain(lowers), strict=True)]


def _certain(numbers: Numbers) -> list[int]:
    """Return numbers none of which is missing, because the references were checked before."""
    return [number for number in numbers if number is not None]
