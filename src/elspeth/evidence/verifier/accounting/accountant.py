"""The laws of accounting, proved from a bag's records.

This code belongs to the verifier alone: it shares only the names of the laws with the queries by which a run proves
them. Nor can the rules in a bag disable a law: a bag without the columns and references that the laws need is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import lt
from typing import cast

from elspeth.evidence.format.laws import Law
from elspeth.evidence.verifier._key_map import KeyMap
from elspeth.evidence.verifier.accounting import _batches, _journeys, _pipeline, _tokens, _visits
from elspeth.evidence.verifier.accounting._account import (
    FLAG,
    INTEGER,
    OR_NULL,
    TIME,
    Account,
    AnyLedger,
    Breach,
    Columns,
    Ledger,
    Links,
    Values,
)

__all__ = [
    "FLAG",
    "INTEGER",
    "LEDGERS",
    "OR_NULL",
    "TIME",
    "Accountant",
    "Breach",
    "Facts",
    "Links",
    "Times",
    "read_facts",
]

_OTHERS = ("call", "validation_error", "transform_error", "checkpoint")
"""Record types of which the laws need only the times."""

LEDGERS: Mapping[str, AnyLedger] = {
    **_pipeline.LEDGERS,
    **_tokens.LEDGERS,
    **_visits.LEDGERS,
    **_batches.LEDGERS,
    **{name: Ledger(columns={"created_at": TIME}) for name in _OTHERS},
}
"""The record types that the laws need."""

_BEGINS = ("started_at", "created_at", "registered_at", "recorded_at")
_ENDS = "completed_at"


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """The first and last time in records, with their indexes.

    `backwards` is the index of the first record that ends before it begins, or None.
    """

    first: str
    first_index: int
    last: str
    last_index: int
    backwards: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """The facts of records of one type for the laws.

    `details` is the result of the ledger's `read`. Indexes count from 0.
    """

    times: Times | None
    details: object


def read_facts(record_type: str, columns: Columns) -> Facts:
    """Return the facts of records, given column by column."""
    ledger = LEDGERS.get(record_type)
    details = None if ledger is None or ledger.read is None else ledger.read(columns)
    return Facts(times=_read_times(columns), details=details)


class Accountant:
    """Proves the laws from the facts of all records."""

    def __init__(self) -> None:
        self._account = Account()

    def take(self, record_type: str, first: int, facts: Facts, links: Links, token_keys: KeyMap | None) -> None:
        """Enter the facts of consecutive records.

        `first` is the number of the first record, and `links` are in the order of the ledger's links.
        """
        account, ledger = self._account, LEDGERS.get(record_type)
        account.token_keys = token_keys
        if ledger is not None and ledger.enter is not None:
            ledger.enter(account, first, facts.details, links)
        if facts.times is not None:
            _check_times(account, record_type, first, facts.times)

    def close(self) -> Mapping[Law, Breach]:
        """Return the broken laws, after all records were entered."""
        account = self._account
        origins = _batches.batches_of_origin(account)
        written = _journeys.follow_tokens(account, origins)
        _pipeline.check_outputs(account, written)
        _tokens.check_tokens(account)
        return account.breaches


def _read_times(columns: Columns) -> Times | None:
    found = next((columns[name] for name in _BEGINS if name in columns), None)
    if found is None:
        return None
    begins = cast("Sequence[str]", found)
    first, last = min(begins), max(begins)
    last_column: Values = begins
    ends = columns.get(_ENDS)
    backwards = None
    if ends is not None and ends.count(None) < len(ends):
        last_end = max(end for end in ends if end is not None) if None in ends else max(cast("Sequence[str]", ends))
        if last_end >= last:
            last_column, last = ends, last_end
        backwards = _first_backwards(begins, ends)
    return Times(
        first=first,
        first_index=begins.index(first),
        last=last,
        last_index=last_column.index(last),
        backwards=backwards,
    )


def _first_backwards(begins: Sequence[str], ends: Values) -> int | None:
    if None not in ends and not any(map(lt, cast("Sequence[str]", ends), begins)):
        return None
    pairs = enumerate(zip(begins, ends, strict=True))
    return next((index for index, (begin, end) in pairs if end is not None and end < begin), None)


def _check_times(account: Account, record_type: str, first: int, times: Times) -> None:
    end = account.completed_at
    if times.backwards is not None:
        problem = "expected an end that is not before the beginning"
        account.breach(Law.TIMES, record_type, first + times.backwards, problem)
    if times.first < account.started_at:
        problem = f"expected a time from {account.started_at} on, when the run began, got {times.first}"
        account.breach(Law.TIMES, record_type, first + times.first_index, problem)
    if end is not None and times.last > end:
        problem = f"expected a time until {end}, when the run ended, got {times.last}"
        account.breach(Law.TIMES, record_type, first + times.last_index, problem)
