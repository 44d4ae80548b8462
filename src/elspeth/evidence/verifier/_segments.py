"""Segments: consecutive records of one type, and their rules.

Most of the work of checking a segment needs no other records, and can be done by other processes. Each rule is written
here once: it is applied to many records at a time, and when it is broken, to single records to explain how.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import takewhile
from operator import lt
from typing import Any

from elspeth.evidence.format.errors import shown
from elspeth.evidence.format.salts import KeySalts
from elspeth.evidence.verifier._key_map import Key, KeyMap, compact
from elspeth.evidence.verifier._line_patterns import TextBlock
from elspeth.evidence.verifier._record_types import Columns, RecordReader
from elspeth.evidence.verifier.accounting.accountant import Facts, Links
from elspeth.evidence.verifier.procedure import Step

__all__ = [
    "Arrival",
    "Problem",
    "RecordBatch",
    "Segment",
    "SegmentReader",
    "find_problem",
    "is_sound_after",
    "is_sound_alone",
]

_TYPE = re.compile('"record_type":"([^"]*)"')
"""The record type of a line in canonical JSON. It cannot match inside a text, where quotes are escaped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A summary of consecutive records of one type.

    It holds all that the checker needs to accept the records. `first` and `last` are the sort keys of the first and
    last record. `keys`, made by `compact`, is empty for a type whose keys are not needed. `targets` holds, for each
    reference of the type, the keys referred to: where the laws of accounting need them one for each record, with None
    for null, else each key once. `unfinished` counts the records that are not final.
    """

    record_type: str
    run_id: str | None
    size: int
    first: Any
    last: Any
    keys: list[bytes]
    targets: list[list[bytes | None]]
    facts: Facts
    unfinished: int


class RecordBatch:
    """Consecutive records of one type, column by column."""

    def __init__(self, reader: RecordReader, columns: Columns, salts: KeySalts | None, *, keyed: bool) -> None:
        self.reader = reader
        self.columns = columns
        self.order: Sequence[Any] = reader.order.of(columns)  # of one type, without null
        self.keys = compact(reader.identity.of(columns)) if keyed else []
        self._salts = salts

    @cached_property
    def salts(self) -> list[str | None]:
        """The salts that the records must hold."""
        if self._salts is None:
            return [None] * len(self.columns[0])
        keys = (key if isinstance(key, tuple) else (key,) for key in self.reader.key.of(self.columns))
        return self._salts.salts(self.reader.rules.name, keys)

    @property
    def statuses(self) -> Sequence[str | None]:
        """The status of each record, None without a lifecycle."""
        index = self.reader.status_index
        return () if index is None else self.columns[index]

    def segment(self) -> Segment:
        """Return the summary of these records."""
        reader, final = self.reader, self.reader.rules.final
        return Segment(
            record_type=reader.rules.name,
            run_id=self.columns[0][0],
            size=len(self.columns[0]),
            first=self.order[0],
            last=self.order[-1],
            keys=self.keys,
            targets=[
                _targets(picked.of(self.columns), of_each=index in reader.links)
                for index, (picked, _) in enumerate(reader.references)
            ],
            facts=reader.read_facts(self.columns),
            unfinished=sum(status not in final for status in self.statuses),
        )


@dataclass(slots=True, kw_only=True)
class Arrival:
    """A segment, and the state of the records before it.

    `keys` holds the known keys by type; `last` is the sort key of the previous record of the same type. `strict` tells
    that the run is completed, so that all records must be final.
    """

    reader: RecordReader
    segment: Segment
    run_id: str | None
    run_status: str | None
    last: Any
    keys: Mapping[str, KeyMap]
    strict: bool
    _numbers: Links | None = None

    @property
    def numbers(self) -> Links:
        """The numbers of the records referred to, per reference."""
        if self._numbers is None:
            references = zip(self.reader.references, self.segment.targets, strict=True)
            self._numbers = [self.keys[each.record_type].find(targets) for (_, each), targets in references]
        return self._numbers

    @property
    def links(self) -> Links:
        """Those of `numbers` that the laws of accounting need."""
        return [self.numbers[index] for index in self.reader.links]


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """The way in which a record breaks a rule.

    `step` is the step of the procedure that reports it.
    """

    step: Step
    field: str
    text: str


class _Rule(ABC):
    """A rule about consecutive records of one type."""

    def holds_alone(self, batch: RecordBatch) -> bool:  # noqa: ARG002
        """Return whether the records keep the rule by themselves."""
        return True

    def holds_after(self, arrival: Arrival) -> bool:  # noqa: ARG002
        """Return whether the records keep the rule after earlier ones."""
        return True

    @abstractmethod
    def problem(self, batch: RecordBatch, arrival: Arrival) -> Problem:
        """Return the problem of a single faulty record."""


class _SameRun(_Rule):
    def holds_alone(self, batch: RecordBatch) -> bool:
        run_ids = batch.columns[0]
        return run_ids.count(run_ids[0]) == len(run_ids)

    def holds_after(self, arrival: Arrival) -> bool:
        return arrival.segment.run_id == arrival.run_id

    def problem(self, batch: RecordBatch, arrival: Arrival) -> Problem:
        text = f"expected {shown(arrival.run_id)} as in the records before, got {shown(arrival.segment.run_id)}"
        return Problem(step=Step.LINES, field=batch.reader.rules.key[0], text=text)


class _Order(_Rule):
    def holds_alone(self, batch: RecordBatch) -> bool:
        return all(map(lt, batch.order, batch.order[1:]))

    def holds_after(self, arrival: Arrival) -> bool:
        return arrival.last is None or bool(arrival.last < arrival.segment.first)

    def problem(self, batch: RecordBatch, arrival: Arrival) -> Problem:
        order = batch.reader.rules.order
        got = _key_text(arrival.segment.first)
        text = f"expected a value after {_key_text(arrival.last)}, got {got}: repeated, or out of order"
        return Problem(step=Step.LINES, field=", ".join(order[1:] or order), text=text)


class _Salt(_Rule):
    def holds_alone(self, batch: RecordBatch) -> bool:
        return batch.salts == list(batch.columns[-1])

    def problem(self, batch: RecordBatch, arrival: Arrival) -> Problem:  # noqa: ARG002
        salt = batch.salts[0]
        expected = f"{salt}, derived from the key" if salt else "none, as the records of this bag have no salts"
        return Problem(step=Step.LINES, field="salt", text=f"expected {expected}, got {shown(batch.columns[-1][0])}")


class _UniqueKey(_Rule):
    def holds_alone(self, batch: RecordBatch) -> bool:
        return len(set(batch.keys)) == len(batch.keys)

    def holds_after(self, arrival: Arrival) -> bool:
        rules = arrival.reader.rules
        # Records that are sorted by their key cannot repeat one.
        return rules.key == rules.order or arrival.keys[rules.name].isdisjoint(arrival.segment.keys)

    def problem(self, batch: RecordBatch, arrival: Arrival) -> Problem:  # noqa: ARG002
        reader = batch.reader
        text = f"expected each key once, got {_key_text(reader.identity.of(batch.columns)[0])} again"
        return Problem(step=Step.LINES, field=", ".join(reader.rules.key[1:]), text=text)


class _References(_Rule):
    def holds_after(self, arrival: Arrival) -> bool:
        return not any(map(_is_missing, arrival.segment.targets, arrival.numbers))

    def problem(self, batch: RecordBatch, arrival: Arrival) -> Problem:
        found = zip(batch.reader.references, arrival.segment.targets, arrival.numbers, strict=True)
        picked, reference = next(each for each, targets, numbers in found if _is_missing(targets, numbers))
        got = _key_text(picked.of(batch.columns)[0])
        text = f"expected the key of an earlier {reference.record_type} record, got {got}"
        return Problem(step=Step.REFERENCES, field=", ".join(reference.columns[1:]), text=text)


class _Lifecycle(_Rule):
    def holds_after(self, arrival: Arrival) -> bool:
        return not (arrival.strict and arrival.segment.unfinished)

    def problem(self, batch: RecordBatch, arrival: Arrival) -> Problem:
        rules = batch.reader.rules
        expected = f"expected {' or '.join(sorted(rules.final))}, as the run is {arrival.run_status}"
        return Problem(
            step=Step.LIFECYCLES, field=str(rules.status), text=f"{expected}, got {shown(batch.statuses[0])}"
        )


_RULES = (_SameRun(), _Order(), _Salt(), _UniqueKey(), _References(), _Lifecycle())
"""The rules. Of a record that breaks several, the first one is reported."""


def is_sound_alone(batch: RecordBatch) -> bool:
    """Return whether records keep all rules by themselves."""
    return all(rule.holds_alone(batch) for rule in _RULES)


def is_sound_after(arrival: Arrival) -> bool:
    """Return whether records keep all rules after earlier ones."""
    return all(rule.holds_after(arrival) for rule in _RULES)


def find_problem(batch: RecordBatch, arrival: Arrival) -> Problem | None:
    """Return the first problem of a single record, or None."""
    for rule in _RULES:
        if not (rule.holds_alone(batch) and rule.holds_after(arrival)):
            return rule.problem(batch, arrival)
    return None


class SegmentReader:
    """Reads segments from the middle of a run.

    `keyed` names the types whose keys are needed.
    """

    def __init__(self, readers: Mapping[str, RecordReader], salts: KeySalts | None, keyed: frozenset[str]) -> None:
        self._readers = readers
        self._salts = salts
        self._keyed = keyed

    def read(self, block: TextBlock) -> list[Segment]:
        """Return the segments of lines that patterns recognise.

        Stops before the first line that must be checked by itself.
        """
        found: list[Segment] = []
        while True:
            named = _TYPE.search(block.first)
            reader = self._readers.get(named[1]) if named else None
            columns = None if reader is None else self._read_columns(reader, block)
            if reader is None or columns is None:
                return found
            batch = self.batch(reader, columns)
            if not is_sound_alone(batch):
                return found
            found.append(batch.segment())
            done = len(columns[0])
            if done == block.size:
                return found
            block = TextBlock.of_texts(block.lines()[done:])

    def _read_columns(self, reader: RecordReader, block: TextBlock) -> Columns | None:
        """Read the first lines until one is not recognised."""
        columns = reader.read_block(block)
        if columns is not None:
            return columns
        recognised = takewhile(lambda each: each is not None, reader.read_fast(block.lines()))
        values = [each for each in recognised if each]
        return list(zip(*values, strict=True)) if values else None

    def batch(self, reader: RecordReader, columns: Columns) -> RecordBatch:
        """Return records of one type as a batch."""
        return RecordBatch(reader, columns, self._salts, keyed=reader.rules.name in self._keyed)


def _targets(keys: Sequence[Key], *, of_each: bool) -> list[bytes | None]:
    """Return the compact keys of the records referred to."""
    if of_each:
        if None not in keys:
            return [*compact(keys)]
        present = iter(compact([key for key in keys if key is not None]))
        return [None if key is None else next(present) for key in keys]
    # Neighbouring records often refer to the same record.
    return [*compact([key for key in dict.fromkeys(keys) if not _is_null(key)])]


def _is_null(key: Key) -> bool:
    """Return whether a column of a key is null."""
    return None in key if isinstance(key, tuple) else key is None


def _is_missing(keys: Sequence[bytes | None], numbers: Sequence[int | None]) -> bool:
    """Return whether a key, not null, has no number."""
    return numbers.count(None) != keys.count(None)


def _key_text(key: Key) -> str:
    return shown(", ".join(map(str, key)) if isinstance(key, tuple) else str(key))
