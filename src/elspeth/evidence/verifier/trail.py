"""Checks the records of a run one after another: the parts of steps 4 and 7 to 9 that are about single lines.

Sound records are taken many at a time. Where one of several is not sound, each is taken by itself, and the first that
is not sound is explained.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from operator import lt
from typing import Any

from elspeth.evidence.format.bag import RECORDS, REFERENCES, SCHEMA, SaltDeriver, Salts
from elspeth.evidence.format.canonical import Json, parse_canonical
from elspeth.evidence.format.errors import EvidenceError, shown
from elspeth.evidence.format.laws import LAWS, Law
from elspeth.evidence.verifier.accountant import Accountant, Breach
from elspeth.evidence.verifier.journeys import close
from elspeth.evidence.verifier.key_map import Key, KeyMap, compact
from elspeth.evidence.verifier.law_columns import check_columns
from elspeth.evidence.verifier.line_pattern import PatternBudget
from elspeth.evidence.verifier.procedure import Step, StepError
from elspeth.evidence.verifier.record_reader import Columns, Picked, RecordReader, Values, is_null
from elspeth.evidence.verifier.record_schema import Shape
from elspeth.evidence.verifier.rules import Reference, RunRules
from elspeth.evidence.verifier.segments import Segment, SegmentReader, salts_of, segment_of

__all__ = ["TrailChecker"]

_TOKEN, _OUTCOME = "token", "token_outcome"


class TrailChecker:
    """Follows the records of one run.

    Keys are kept for as long as others may refer to them, and what the laws of accounting ask; nothing else is.
    """

    def __init__(self, rules: RunRules, shapes: Mapping[str, Sequence[Shape]], salts: Salts | None) -> None:
        missing = next((name for name in rules.types if name not in shapes), None)
        if missing is not None:
            raise EvidenceError(f"{REFERENCES}: types", f"expected types that the schema knows, got {shown(missing)}")
        self.counts: Counter[str] = Counter()
        self.run_id: str | None = None
        self.run_status: str | None = None
        self.unfinished = 0
        """Records that are not final, of a run that was abandoned or has not ended."""
        self._run = rules.run
        check_columns(rules, shapes)
        self._accountant = Accountant()
        self._first_lines: dict[str, int] = {}
        """By type, the number of the line with its first record."""
        budget = PatternBudget(SCHEMA)
        self._readers = {
            name: RecordReader(each, shapes[name], REFERENCES, budget) for name, each in rules.types.items()
        }
        self._positions = {name: position for position, name in enumerate(rules.types)}
        self._salts = None if salts is None else SaltDeriver(salts)
        self._needed = {name: self._positions[name] for name, each in rules.types.items() if each.key != each.order}
        """By type, the position of the last type that needs its keys: that refers to them, or may repeat them.

        Records that are sorted by their key cannot repeat one.
        """
        for name in rules.types:
            for _, reference in self._readers[name].references:
                self._needed[reference.record_type] = self._positions[name]
        self._keys = {name: KeyMap() for name in self._needed}
        self._reader = self._readers[self._run.name]
        self._last: Any = None
        """What the last record was sorted by."""
        self._strict = True
        """Whether the run is complete, so that all its records must be final."""

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

    def take(self, segments: Sequence[Segment]) -> int:
        """Take the segments that the next lines are made of as long as all is right; how many lines they have."""
        taken = 0
        for segment in segments:
            name, last = segment.record_type, self._reader.rules.name
            if not self.counts or self._positions[name] < self._positions[last]:
                break
            if name != last:
                self._go_to(self._readers[name])
            if not self._take(segment):
                break
            taken += segment.size
        return taken

    def segment_reader(self) -> SegmentReader:
        """What reads segments that this checker can take."""
        return SegmentReader(self._readers, self._salts, frozenset(self._needed))

    def lifecycles(self) -> str:
        """Return what step 8 finds when all lines were checked; StepError if it fails."""
        run, status = self._run, self.run_status
        left = f"{self.unfinished:,} of {self.counts.total():,} records are not final"
        if run.status is not None and status not in run.final:
            expected = f"expected {' or '.join(sorted(run.final))}, got {shown(status)}"
            problem = f"{expected}: the run has not ended, its trail is incomplete; {left}"
            raise StepError(Step.LIFECYCLES, f"{_place(1)}: {run.status}", problem)
        return f"{left}, as a {status} run may leave them" if self.unfinished else "all complete"

    def accounting(self, recorded_epoch: int | None) -> str:
        """Return what step 9 finds when all lines of a run that has ended were checked; StepError if it fails.

        `recorded_epoch` is that in which the run was recorded and sealed, None if it was not.
        """
        account = self._accountant.account
        close(account)
        asked = [law for law in Law if self._is_asked(law, recorded_epoch)]
        broken = [self._told(law, account.breaches[law]) for law in asked if law in account.breaches]
        if broken:
            place, problem = broken[0]
            more = "".join(f"; {place}: {problem}" for place, problem in broken[1:])
            raise StepError(Step.ACCOUNTING, place, f"{problem}{more}")
        others = [law for law in Law if law not in asked and law in account.breaches]
        if not others:
            return f"all {len(Law)} laws hold"
        names = ", ".join(others)
        if recorded_epoch is None:
            older = "as of a run that was imported, or recorded before they were proved when it ended"
            return f"{len(asked)} laws hold; not asked, {older}, are {names}"
        return f"{len(asked)} laws hold; not asked of a {self.run_status} run is {names}"

    def _is_asked(self, law: Law, recorded_epoch: int | None) -> bool:
        facts = LAWS[law]
        if facts.of_completed and not self._strict:
            return False
        if recorded_epoch is None:
            # Outcomes have been recorded since epoch 3: a run from before has none at all.
            return facts.since == 1 or (law is Law.ENDS and bool(self.counts[_OUTCOME]))
        return facts.since <= recorded_epoch

    def _told(self, law: Law, breach: Breach) -> tuple[str, str]:
        """Return the line that breaks a law, and how."""
        line = self._first_lines.get(breach.record_type, 1) + breach.number
        return _place(line), f"{law}: {breach.problem}"

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
        """Go on to another record type, if it is another; it must be a later one."""
        name, last = reader.rules.name, self._reader.rules.name
        if not self.counts and name != self._run.name:
            raise _fault(number, f"expected the {self._run.name} record first, got a {name} record")
        if self._positions[name] < self._positions[last]:
            raise _fault(number, f"expected a {last} record, or one of a later type, got a {name} record: out of order")
        if name != last:
            self._go_to(reader)

    def _go_to(self, reader: RecordReader) -> None:
        """Go on to another record type, and forget the keys that are not needed from there on."""
        self._reader, self._last = reader, None
        self._first_lines[reader.rules.name] = self.counts.total() + 1
        position = self._positions[reader.rules.name]
        self._keys = {name: keys for name, keys in self._keys.items() if self._needed[name] >= position}

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
            self._strict = self.run_status in reader.rules.final - reader.rules.abandoned

    def _accept(self, columns: Columns) -> bool:
        """Take records of the present type if all of them are sound; if one is not, none is taken."""
        keyed = self._reader.rules.name in self._needed
        segment = segment_of(self._reader, columns, self._salts, keyed=keyed)
        return segment is not None and self._take(segment)

    def _take(self, segment: Segment) -> bool:
        """Take records of the present type, sound by themselves, if they go with those before them."""
        reader, name = self._reader, segment.record_type
        sound = (
            segment.run_id == self.run_id
            and (self._last is None or lt(self._last, segment.first))
            and not self._repeated(segment.keys)
            and not (segment.unfinished and self._strict)
        )
        if not sound:
            return False
        found = [
            self._keys[reference.record_type].find(keys)
            for (_, reference), keys in zip(reader.references, segment.targets, strict=True)
        ]
        if any(map(_is_missing, segment.targets, found)):
            return False
        links = [found[at] for at in reader.links]
        self._accountant.take(name, self.counts[name], segment.facts, links, self._keys.get(_TOKEN))
        self._last = segment.last
        self.counts[name] += segment.size
        self.unfinished += segment.unfinished
        if name in self._keys:
            self._keys[name].take(segment.keys)
        return True

    def _repeated(self, keys: Sequence[bytes]) -> bool:
        """Whether one of the keys, of records of the present type, came before."""
        rules = self._reader.rules
        return rules.key != rules.order and not self._keys[rules.name].isdisjoint(keys)

    def _closed(self, columns: Columns, picked: Picked, reference: Reference) -> bool:
        """Whether all that the records refer to came before them."""
        keys = compact([key for key in picked.of(columns) if not is_null(key)])
        return None not in self._keys[reference.record_type].find(keys)

    def _explained(self, number: int, columns: Columns) -> StepError:
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
        expected, salt = salts_of(reader, columns, self._salts)[0], columns[-1][0]
        if salt != expected:
            wanted = f"{expected}, derived from the key" if expected else "none, as there is no secret in the bag"
            return _fault(number, f"salt: expected {wanted}, got {shown(salt)}")
        identity = reader.identity.of(columns)
        if self._repeated(compact(identity)):
            return _fault(number, f"{', '.join(rules.key[1:])}: expected each key once, got {_text(identity[0])} again")
        for picked, reference in reader.references:
            if not self._closed(columns, picked, reference):
                expected, got = f"a {reference.record_type} record before this one", _text(picked.of(columns)[0])
                place = f"{_place(number)}: {', '.join(reference.columns[1:])}"
                return StepError(Step.REFERENCES, place, f"expected {expected}, got {got}, of which there is none")
        status = None if reader.status_at is None else columns[reader.status_at][0]
        problem = f"expected {' or '.join(sorted(rules.final))}, as the run is {self.run_status}, got {shown(status)}"
        return StepError(Step.LIFECYCLES, f"{_place(number)}: {rules.status}", problem)


def _is_missing(keys: Sequence[bytes | None], numbers: Sequence[int | None]) -> bool:
    """Return whether one of the keys has no number."""
    return numbers.count(None) != keys.count(None)


def _decoded(lines: Sequence[bytes]) -> list[str]:
    """The lines as text, up to the first that is not UTF-8."""
    texts: list[str] = []
    try:
        texts.extend(line.decode() for line in lines)
    except UnicodeDecodeError:
        return texts
    return texts


def _text(key: Key) -> str:
    return shown(", ".join(map(str, key)) if isinstance(key, tuple) else str(key))


def _place(number: int) -> str:
    return f"{RECORDS}, line {number}"


def _fault(number: int, problem: str) -> StepError:
    return StepError(Step.LINES, _place(number), problem)
