"""The facts of a run for the laws, kept compactly.

Records are identified by their numbers, which count from 0 for each type, in export order. A token or visit takes a few
bytes in arrays.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeAlias, TypeVar

from elspeth.evidence.format.laws import Law
from elspeth.evidence.verifier._key_map import KeyMap

__all__ = [
    "EXPAND",
    "FLAG",
    "FORK",
    "INTEGER",
    "JOIN",
    "NODES",
    "NOWHERE",
    "OR_NULL",
    "OUTCOMES",
    "OUTCOME_BITS",
    "TEXT",
    "TIME",
    "Account",
    "AnyLedger",
    "Breach",
    "Columns",
    "Ledger",
    "Links",
    "Values",
    "edge_code",
    "node_of",
    "outcome_of",
    "present",
    "put_at",
    "reach",
    "sink_of",
    "value_at",
]

TEXT, INTEGER, FLAG, TIME = "text", "whole number from 0", "true or false", "time"
OR_NULL = " or null"
"""The possible contents of a column."""

NODES = 1 << 14
"""The largest number of nodes: 14 bits of a visit."""

NOWHERE = NODES - 1
"""The number for nodes that are not in the bag, or beyond the largest number."""

FORK, EXPAND, JOIN = 1, 2, 3
"""The ways in which tokens are made from others."""

OUTCOMES = (
    "completed",
    "routed",
    "failed",
    "quarantined",
    "forked",
    "expanded",
    "coalesced",
    "consumed_in_batch",
    "dropped",
)
"""Terminal outcomes. Their codes count from 1."""

OUTCOME_BITS = 4

Values: TypeAlias = Sequence[str | None]
"""The values of one column, as text; None for null."""

Columns: TypeAlias = Mapping[str, Values]
"""Some records of one type, column by column."""

Links: TypeAlias = Sequence[Sequence[int | None]]
"""For each link of a type, the numbers of the records referred to; None for null."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Breach:
    """The first breach of a law.

    `record_type` and `number` identify the record.
    """

    record_type: str
    number: int
    problem: str


@dataclass(slots=True, kw_only=True)
class Groups:
    """The forks, expansions and merges, in arrays indexed by number.

    `kinds` holds FORK, EXPAND or JOIN. `children` counts the tokens made, and `links` their links to parents. `parents`
    holds the number of the last parent plus 1.
    """

    keys: KeyMap = field(default_factory=KeyMap)
    kinds: array[int] = field(default_factory=lambda: array("B"))
    children: array[int] = field(default_factory=lambda: array("I"))
    links: array[int] = field(default_factory=lambda: array("I"))
    parents: array[int] = field(default_factory=lambda: array("I"))


@dataclass(slots=True, kw_only=True)
class Account:
    """The facts of a run that the laws need.

    Arrays are indexed by the number of the record. A number that may be missing is stored plus 1, with 0 for none.

    - `edge_codes`: the edges, each with both ends in one number.
    - By row: its source (`sources`), and whether a token carries it (`carried`).
    - By token: its row (`rows`), the group that made it (`made`), the group that it became (`became`), the number of
      copies that its visits sent (`copies`), the batch that consumed it (`consumed`), and how it ended (`ended`: the
      outcome's code, with the sink in the upper bits).
    - By visit: its token (`visitors`), step, attempt, node and status (`visits`), and where it was routed (`routed`).
    - `members` and `outputs` of batches: token and batch in one number.
    """

    started_at: str = ""
    completed_at: str | None = None
    nodes: dict[str, int] = field(default_factory=dict)
    node_types: list[str] = field(default_factory=list)
    edge_codes: set[int] = field(default_factory=set)
    edges: dict[str, tuple[int, int]] = field(default_factory=dict)
    operations: dict[tuple[int, str], tuple[int, str | None]] = field(default_factory=dict)
    artifacts: dict[int, list[Mapping[str, str | int]]] = field(default_factory=dict)
    sources: array[int] = field(default_factory=lambda: array("H"))
    carried: bytearray = field(default_factory=bytearray)
    token_keys: KeyMap | None = None
    rows: array[int] = field(default_factory=lambda: array("I"))
    made: array[int] = field(default_factory=lambda: array("I"))
    became: array[int] = field(default_factory=lambda: array("I"))
    copies: array[int] = field(default_factory=lambda: array("I"))
    consumed: array[int] = field(default_factory=lambda: array("I"))
    ended: array[int] = field(default_factory=lambda: array("H"))
    visitors: array[int] = field(default_factory=lambda: array("I"))
    visits: array[int] = field(default_factory=lambda: array("Q"))
    routed: array[int] = field(default_factory=lambda: array("I"))
    batch_nodes: array[int] = field(default_factory=lambda: array("H"))
    batch_is_completed: bytearray = field(default_factory=bytearray)
    members: array[int] = field(default_factory=lambda: array("Q"))
    outputs: array[int] = field(default_factory=lambda: array("Q"))
    sinks: dict[str, int] = field(default_factory=dict)
    groups: Groups = field(default_factory=Groups)
    breaches: dict[Law, Breach] = field(default_factory=dict)

    def breach(self, law: Law, record_type: str, number: int, problem: str) -> None:
        """Note the first breach of a law."""
        self.breaches.setdefault(law, Breach(record_type=record_type, number=number, problem=problem))

    def node(self, name: str) -> int:
        """Return the number of a node, or `NOWHERE`."""
        return self.nodes.get(name, NOWHERE)

    def node_type(self, node: int) -> str:
        """Return the type of a node, "" for `NOWHERE`."""
        return self.node_types[node] if node < len(self.node_types) else ""


Facts = TypeVar("Facts")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger(Generic[Facts]):
    """Enters the records of one type into the account.

    `columns` maps the columns that the laws need to their contents; `links` maps the columns that refer to another
    record to its type. `read` does most of the work and needs no other records, so that other processes can call it.
    `enter` takes the account, the number of the first record, the facts and the links.
    """

    columns: Mapping[str, str]
    links: Mapping[str, str] = field(default_factory=dict)
    read: Callable[[Columns], Facts] | None = None
    enter: Callable[[Account, int, Facts, Links], None] | None = None


AnyLedger: TypeAlias = Ledger[Any]


def edge_code(origin: int, target: int) -> int:
    """Return the number for an edge between two nodes."""
    return origin << 16 | target


def node_of(visit: int) -> int:
    """Return the node of a visit."""
    return visit >> 2 & NODES - 1


def outcome_of(ended: int) -> int:
    """Return the code of an outcome, 0 for none."""
    return ended & (1 << OUTCOME_BITS) - 1


def sink_of(ended: int) -> int:
    """Return the sink of an outcome, 0 for none."""
    return ended >> OUTCOME_BITS


def value_at(values: array[int], number: int) -> int:
    """Return a value of an array without trailing zeros."""
    return values[number] if number < len(values) else 0


def put_at(values: array[int], number: int, value: int) -> None:
    """Set a value of an array without trailing zeros."""
    reach(values, number)
    values[number] = value


def reach(values: array[int], number: int) -> None:
    """Extend an array with zeros until it has this index."""
    missing = number + 1 - len(values)
    if missing > 0:
        values.frombytes(bytes(missing * values.itemsize))


def present(numbers: Sequence[int | None]) -> list[int]:
    """Return the numbers of a link that cannot be null.

    References were checked before, so none of the numbers is missing.
    """
    return [number for number in numbers if number is not None]
