"""What is known of some records of one type that follow each other, without knowing what came before them.

That is the larger part of checking them, and can be done by several processes at once.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from operator import lt
from typing import Any

from elspeth.evidence.format.bag import SaltDeriver
from elspeth.evidence.verifier.facts import Facts
from elspeth.evidence.verifier.key_map import Key, compact
from elspeth.evidence.verifier.record_reader import Columns, RecordReader, is_null

__all__ = ["Segment", "SegmentReader", "salts_of", "segment_of"]

_TYPE = re.compile('"record_type":"([^"]*)"')
"""In canonical JSON this stands nowhere but at the field: within a text, quotes are escaped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """Records that are sound by themselves, in order, and of one run. Keys are made by `compact`.

    `first` and `last` are what they are sorted by. `keys` is empty for a type whose keys nothing needs. `targets` are
    the keys referred to, in the order of the type's references: of each record, where the laws of accounting ask for
    it, with None for null; else each once. `facts` are what the records tell these laws.
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


def segment_of(reader: RecordReader, columns: Columns, salts: SaltDeriver | None, *, keyed: bool) -> Segment | None:
    """The segment of records of one type, given column by column; None if they are not sound by themselves."""
    run_id, size = columns[0][0], len(columns[0])
    order: Sequence[Any] = reader.order.of(columns)  # of one type, without null
    keys = compact(reader.identity.of(columns)) if keyed else []
    sound = (
        columns[0].count(run_id) == size
        and all(map(lt, order, order[1:]))
        and salts_of(reader, columns, salts) == list(columns[-1])
        and len(set(keys)) == len(keys)
    )
    if not sound:
        return None
    status_at, final = reader.status_at, reader.rules.final
    return Segment(
        record_type=reader.rules.name,
        run_id=run_id,
        size=size,
        first=order[0],
        last=order[-1],
        keys=keys,
        targets=[
            _targets(picked.of(columns), of_each=at in reader.links) for at, (picked, _) in enumerate(reader.references)
        ],
        facts=reader.facts(columns),
        unfinished=0 if status_at is None else sum(status not in final for status in columns[status_at]),
    )


def _targets(keys: Sequence[Key], *, of_each: bool) -> list[bytes | None]:
    """Return the compact keys of records that others refer to."""
    if of_each:
        if None not in keys:
            return [*compact(keys)]
        present = iter(compact([key for key in keys if key is not None]))
        return [None if key is None else next(present) for key in keys]
    # Neighbours often refer to the same record, or to neighbours.
    return [*compact([key for key in dict.fromkeys(keys) if not is_null(key)])]


class SegmentReader:
    """Reads segments from lines out of the middle of a run. `keyed` names the types whose keys are needed."""

    def __init__(self, readers: Mapping[str, RecordReader], salts: SaltDeriver | None, keyed: frozenset[str]) -> None:
        self._readers = readers
        self._salts = salts
        self._keyed = keyed

    def segments(self, lines: Sequence[str]) -> list[Segment]:
        """The segments of the lines, up to the first line that is not valid beyond doubt."""
        found: list[Segment] = []
        done = 0
        while done < len(lines):
            named = _TYPE.search(lines[done])
            reader = self._readers.get(named[1]) if named else None
            if reader is None:
                break
            values = [each for each in takewhile(lambda each: each is not None, reader.fast(lines[done:])) if each]
            columns = list(zip(*values, strict=True))
            keyed = reader.rules.name in self._keyed
            segment = segment_of(reader, columns, self._salts, keyed=keyed) if values else None
            if segment is None:
                break
            found.append(segment)
            done += segment.size
        return found


def salts_of(reader: RecordReader, columns: Columns, salts: SaltDeriver | None) -> list[str | None]:
    """The salts that records must carry."""
    if salts is None:
        return [None] * len(columns[0])
    keys = (key if isinstance(key, tuple) else (key,) for key in reader.key.of(columns))
    return salts.salts(reader.rules.name, keys)
