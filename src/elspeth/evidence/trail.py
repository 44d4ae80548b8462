"""Checks the records of a run one after another: the parts of steps 4, 7 and 8 that are about single lines.

Sound records are taken many at a time. Where one of several is not sound, each is taken by itself, and the first that
is not sound is explained.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from itertools import repeat
from operator import lt
from typing import Any

import orjson

from elspeth.evidence.canonical import Json, parse_canonical
from elspeth.evidence.errors import EvidenceError, shown
from elspeth.evidence.layout import RECORDS, REFERENCES
from elspeth.evidence.procedure import Step, StepError
from elspeth.evidence.record_reader import Key, Picked, RecordReader, Values
from elspeth.evidence.record_schema import Shape
from elspeth.evidence.rules import Reference, RunRules
from elspeth.evidence.salts import SaltDeriver, Salts

__all__ = ["TrailChecker"]

_Columns = Sequence[Sequence[str | None]]
"""The values of several records of one type, column by column."""

_HEX = re.compile("[0-9a-f]*").fullmatch
_ID_LENGTH = 32
"""Of an id that is 128 bits in hexadecimal."""

_DIGEST_MARK = 1 << 128
"""Above every number that such an id stands for, so that no id can pass for a digest."""


class TrailChecker:
    """Follows the records of one run. Keys that others may refer to are kept, 16 bytes each; nothing else is."""

    def __init__(self, rules: RunRules, shapes: Mapping[str, Sequence[Shape]], salts: Salts | None) -> None:
        missing = next((name for name in rules.types if name not in shapes), None)
        if missing is not None:
            raise EvidenceError(f"{REFERENCES}: types", f"expected types that the schema knows, got {shown(missing)}")
        self.counts: Counter[str] = Counter()
        self.run_id: str | None = None
        self.run_status: str | None = None
        self.unfinished = 0
        """Records, of a run that goes on, that are not final."""
        self._run = rules.run.name
        self._readers = {name: RecordReader(each, shapes[name], REFERENCES) for name, each in rules.types.items()}
        self._positions = {name: position for position, name in enumerate(rules.types)}
        self._salts = None if salts is None else SaltDeriver(salts)
        referenced = {each.record_type for rule in rules.types.values() for each in rule.references if each.columns[1:]}
        # Records sorted by their key cannot repeat one. Those sorted by something else can.
        self._keys: dict[str, set[int]] = {
            name: set() for name, rule in rules.types.items() if name in referenced or rule.key != rule.order
        }
        self._reader = self._readers[self._run]
        self._last: Any = None
        """What the last record was sorted by."""
        self._run_final = True

    def check(self, first: int, lines: Sequence[bytes]) -> None:
        """Check the next lines, the first of which has the number given.

        StepError for the first line at fault, with the field and what is wrong with it.
        """
        texts = _decoded(lines)
        done = 0
        while done < len(texts):
            done += self._check_texts(first + done, texts[done:])
        if done < len(lines):
            raise _fault(first + done, "expected UTF-8, got bytes that are none")

    def _check_texts(self, first: int, texts: Sequence[str]) -> int:
        """Check lines as long as they are of one type; how many there were, with the first of another type."""
        reader = self._reader
        found = reader.fast(texts)
        unclear = [at for at, values in enumerate(found) if values is None]
        done = 0
        for at in unclear:
            self._check_values(first + done, [values for values in found[done:at] if values is not None])
            self._check_values(first + at, [self._closely(first + at, texts[at].encode())])
            done = at + 1
            if self._reader is not reader:
                return done
        self._check_values(first + done, [values for values in found[done:] if values is not None])
        return len(texts)

    def _closely(self, number: int, line: bytes) -> Values:
        """The values of a line that may be of another type, or at fault."""
        place = _place(number)
        try:
            record = parse_canonical(line, place)
            reader = self._reader_of(record, place)
            values = reader.closely(record, place)
        except EvidenceError as error:
            raise StepError(Step.LINES, error.place, error.problem) from error
        self._turn_to(number, reader)
        return values

    def _reader_of(self, record: Mapping[str, Json], place: str) -> RecordReader:
        name = record.get("record_type")
        reader = self._readers.get(name) if isinstance(name, str) else None
        if reader is None:
            expected = f"expected one of {', '.join(self._readers)}"
            raise EvidenceError(f"{place}: record_type", f"{expected}, got {shown(name)}")
        return reader

    def _turn_to(self, number: int, reader: RecordReader) -> None:
        """Go on to another record type, which must be a later one."""
        name, last = reader.rules.name, self._reader.rules.name
        if not self.counts and name != self._run:
            raise _fault(number, f"expected the {self._run} record first, got a {name} record")
        if self._positions[name] < self._positions[last]:
            raise _fault(number, f"expected a {last} record, or one of a later type, got a {name} record: out of order")
        if name != last:
            self._reader, self._last = reader, None

    def _check_values(self, first: int, values: Sequence[Values]) -> None:
        if not values:
            return
        if not self.counts:
            self._begin(values[0])
        if self._accept(list(zip(*values, strict=True))):
            return
        for number, each in enumerate(values, start=first):
            single = [(value,) for value in each]
            if not self._accept(single):
                raise self._explained(number, single)

    def _begin(self, values: Values) -> None:
        """Learn from the run's own record, which comes first, what the others must agree with."""
        reader = self._reader
        self.run_id = values[0]
        if reader.status_at is not None:
            self.run_status = values[reader.status_at]
            self._run_final = self.run_status in reader.rules.final

    def _accept(self, columns: _Columns) -> bool:
        """Take records of the present type if all of them are sound; if one is not, none is taken."""
        reader, size = self._reader, len(columns[0])
        name = reader.rules.name
        order: Sequence[Any] = reader.order.of(columns)  # of one type, without null
        known = self._keys.get(name)
        keys = [] if known is None else _compact(reader.identity.of(columns))
        unfinished = self._unfinished(columns)
        sound = (
            columns[0].count(self.run_id) == size
            and (self._last is None or lt(self._last, order[0]))
            and all(map(lt, order, order[1:]))
            and self._salts_of(columns) == list(columns[-1])
            and (known is None or (len(set(keys)) == size and known.isdisjoint(keys)))
            and all(self._closed(columns, *each) for each in reader.references)
            and not (unfinished and self._run_final)
        )
        if sound:
            self._last = order[-1]
            self.counts[name] += size
            self.unfinished += unfinished
            if known is not None:
                known.update(keys)
        return sound

    def _salts_of(self, columns: _Columns) -> list[str | None]:
        """The salts that the records must carry."""
        if self._salts is None:
            return [None] * len(columns[0])
        keys = (key if isinstance(key, tuple) else (key,) for key in self._reader.key.of(columns))
        return self._salts.salts(self._reader.rules.name, keys)

    def _closed(self, columns: _Columns, picked: Picked, reference: Reference) -> bool:
        """Whether all that the records refer to came before them."""
        # Neighbours often refer to the same record.
        keys = [key for key in set(picked.of(columns)) if not _is_null(key)]
        return self._keys[reference.record_type].issuperset(_compact(keys))

    def _unfinished(self, columns: _Columns) -> int:
        """How many of the records are not final."""
        status_at, final = self._reader.status_at, self._reader.rules.final
        return 0 if status_at is None else sum(status not in final for status in columns[status_at])

    def _explained(self, number: int, columns: _Columns) -> StepError:
        """Why a single record is not accepted."""
        reader, rules = self._reader, self._reader.rules
        run_id = columns[0][0]
        if run_id != self.run_id:
            problem = f"expected {shown(self.run_id)} as in the records before, got {shown(run_id)}"
            return _fault(number, f"{rules.key[0]}: {problem}")
        order: Any = reader.order.of(columns)[0]
        if self._last is not None and not lt(self._last, order):
            problem = f"expected a value after {_text(self._last)}, got {_text(order)}: repeated, or out of order"
            return _fault(number, f"{', '.join(rules.order[1:] or rules.order)}: {problem}")
        expected, salt = self._salts_of(columns)[0], columns[-1][0]
        if salt != expected:
            wanted = f"{expected}, derived from the key" if expected else "none, as there is no secret in the bag"
            return _fault(number, f"salt: expected {wanted}, got {shown(salt)}")
        identity = reader.identity.of(columns)
        if not self._keys.get(rules.name, set()).isdisjoint(_compact(identity)):
            return _fault(number, f"{', '.join(rules.key[1:])}: expected each key once, got {_text(identity[0])} again")
        for picked, reference in reader.references:
            if not self._closed(columns, picked, reference):
                expected, got = f"a {reference.record_type} record before this one", _text(picked.of(columns)[0])
                place = f"{_place(number)}: {', '.join(reference.columns[1:])}"
                return StepError(Step.REFERENCES, place, f"expected {expected}, got {got}, of which there is none")
        status = None if reader.status_at is None else columns[reader.status_at][0]
        problem = f"expected {' or '.join(sorted(rules.final))}, as the run is {self.run_status}, got {shown(status)}"
        return StepError(Step.LIFECYCLES, f"{_place(number)}: {rules.status}", problem)


def _decoded(lines: Sequence[bytes]) -> list[str]:
    """The lines as text, up to the first that is not UTF-8."""
    texts: list[str] = []
    try:
        texts.extend(line.decode() for line in lines)
    except UnicodeDecodeError:
        return texts
    return texts


def _is_null(key: Key) -> bool:
    return None in key if isinstance(key, tuple) else key is None


def _compact(keys: Sequence[Key]) -> list[int]:
    """Numbers that stand for keys: an id that is 128 bits itself, or a digest of that size."""
    ids = [key for key in keys if isinstance(key, str) and len(key) == _ID_LENGTH]
    if len(ids) == len(keys) and _HEX("".join(ids)):
        return list(map(int, ids, repeat(16)))
    if len(keys) > 1:
        return [number for key in keys for number in _compact([key])]
    return [_DIGEST_MARK + int.from_bytes(blake2b(orjson.dumps(key), digest_size=16).digest()) for key in keys]


def _text(key: Key) -> str:
    return shown(", ".join(map(str, key)) if isinstance(key, tuple) else str(key))


def _place(number: int) -> str:
    return f"{RECORDS}, line {number}"


def _fault(number: int, problem: str) -> StepError:
    return StepError(Step.LINES, _place(number), problem)
