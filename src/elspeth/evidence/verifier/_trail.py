"""Checks the records of a run, line by line.

This is part of the steps 4 and 7 to 9.

Sound records are checked many at a time. If one of them breaks a rule, they are checked one by one, and the first that
breaks a rule is reported.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from elspeth.evidence.format.bag import RECORDS
from elspeth.evidence.format.canonical import Json, parse_canonical
from elspeth.evidence.format.errors import EvidenceError, shown
from elspeth.evidence.format.laws import LAWS, Law
from elspeth.evidence.format.salts import KeySalts
from elspeth.evidence.verifier._key_map import KeyMap
from elspeth.evidence.verifier._line_patterns import TextBlock
from elspeth.evidence.verifier._record_types import Columns, RecordReader, RunRules, Values, build_readers
from elspeth.evidence.verifier._segments import (
    Arrival,
    Segment,
    SegmentReader,
    find_problem,
    is_sound_after,
    is_sound_alone,
)
from elspeth.evidence.verifier._shapes import Shape
from elspeth.evidence.verifier.accounting.accountant import Accountant, Breach
from elspeth.evidence.verifier.procedure import Step, StepError

__all__ = ["TrailChecker"]

_TOKEN, _OUTCOME = "token", "token_outcome"


class TrailChecker:
    """Checks the records of one run, in export order.

    It keeps keys as long as later records may refer to them, and otherwise only the facts that the laws of accounting
    need.
    """

    def __init__(self, rules: RunRules, shapes: Mapping[str, Sequence[Shape]], salts: KeySalts | None) -> None:
        self.counts: Counter[str] = Counter()
        self.run_id: str | None = None
        self.run_status: str | None = None
        self.unfinished = 0
        """The number of records that are not final."""
        self._run = rules.run
        self._readers = build_readers(rules, shapes)
        self._accountant = Accountant()
        self._first_lines: dict[str, int] = {}
        """The line number of the first record, by type."""
        self._positions = {name: position for position, name in enumerate(rules.types)}
        self._needed = {name: self._positions[name] for name, each in rules.types.items() if each.key != each.order}
        """By type, the position of the last type that needs its keys, either to refer to them or to repeat none."""
        for name in rules.types:
            for _, reference in self._readers[name].references:
                self._needed[reference.record_type] = self._positions[name]
        self._keys = {name: KeyMap() for name in self._needed}
        self.segment_reader = SegmentReader(self._readers, salts, frozenset(self._needed))
        """A reader, for any process, of segments that this checker can take."""
        self._reader = self._readers[self._run.name]
        self._last: Any = None
        """The sort key of the previous record."""
        self._strict = True
        """Whether the run is completed, so that all records must be final."""

    def check(self, first: int, lines: Sequence[bytes]) -> None:
        """Check the next lines.

        `first` is the number of the first of them. Raises StepError for the first line at fault.
        """
        if self.counts and self._check_block(first, lines):
            return
        texts = _decoded(lines)
        done = 0
        while done < len(texts):
            done += self._check_texts(first + done, texts[done:])
        if done < len(lines):
            raise _line_error(first + done, "expected UTF-8, got other bytes")

    def take(self, segments: Sequence[Segment]) -> int:
        """Accept segments of the next lines while they are sound.

        Returns the number of lines in the accepted segments.
        """
        taken = 0
        for segment in segments:
            name, last = segment.record_type, self._reader.rules.name
            if not self.counts or self._positions[name] < self._positions[last]:
                break
            if name != last:
                self._go_on_to(self._readers[name])
            if not self._take(segment):
                break
            taken += segment.size
        return taken

    def lifecycles(self) -> str:
        """Return the detail of step 8 after the last line.

        Raises StepError if the run has not ended.
        """
        run, status = self._run, self.run_status
        left = f"{self.unfinished:,} of {self.counts.total():,} records are not final"
        if run.status is not None and status not in run.final:
            expected = f"expected {' or '.join(sorted(run.final))}, got {shown(status)}"
            problem = f"{expected}: the run has not ended, its trail is incomplete; {left}"
            raise StepError(Step.LIFECYCLES, f"{_place(1)}: {run.status}", problem)
        return f"{left}, as a {status} run may leave them" if self.unfinished else "all complete"

    def accounting(self, recorded_epoch: int | None) -> str:
        """Return the detail of step 9 for a finished run.

        `recorded_epoch` is the epoch in which the run was recorded and sealed, None if it was not sealed. Raises
        StepError if a law is broken.
        """
        breaches = self._accountant.close()
        asked = [law for law in Law if self._is_asked(law, recorded_epoch)]
        broken = [self._described(law, breaches[law]) for law in asked if law in breaches]
        if broken:
            place, problem = broken[0]
            more = "".join(f"; {place}: {problem}" for place, problem in broken[1:])
            raise StepError(Step.ACCOUNTING, place, f"{problem}{more}")
        if len(asked) == len(Law):
            return f"all {len(Law)} laws hold"
        return f"{len(asked)} of {len(Law)} laws hold; {self._unasked(asked, recorded_epoch)}"

    def _unasked(self, asked: Sequence[Law], recorded_epoch: int | None) -> str:
        """Return which laws were not checked, and why."""
        others = [law for law in Law if law not in asked]
        newer = [law for law in others if LAWS[law].since > (recorded_epoch or 1)]
        reasons = {
            "a run that was imported, or recorded before runs were sealed"
            if recorded_epoch is None
            else f"a run that was recorded in epoch {recorded_epoch}": newer,
            f"a {self.run_status} run": [law for law in others if law not in newer],
        }
        return "; ".join(f"{len(laws)} not asked of {run}: {', '.join(laws)}" for run, laws in reasons.items() if laws)

    def _is_asked(self, law: Law, recorded_epoch: int | None) -> bool:
        facts = LAWS[law]
        if facts.of_completed and not self._strict:
            return False
        if recorded_epoch is None:
            # Outcomes have been recorded since epoch 3. An older run has none at all.
            return facts.since == 1 or (law is Law.ENDS and bool(self.counts[_OUTCOME]))
        return facts.since <= recorded_epoch

    def _described(self, law: Law, breach: Breach) -> tuple[str, str]:
        line = self._first_lines.get(breach.record_type, 1) + breach.number
        return _place(line), f"{law}: {breach.problem}"

    def _check_block(self, first: int, lines: Sequence[bytes]) -> bool:
        """Check lines at once if all have the current type.

        Returns whether they were checked.
        """
        if not lines:
            return False
        try:
            block = TextBlock.of_bytes(lines)
        except UnicodeDecodeError:
            return False
        columns = self._reader.read_block(block)
        if columns is None:
            return False
        self._check_columns(first, columns)
        return True

    def _check_texts(self, first: int, texts: Sequence[str]) -> int:
        """Check lines up to a change of their record type.

        Returns the number of lines checked.
        """
        reader = self._reader
        found = reader.read_fast(texts)
        unrecognised = [index for index, values in enumerate(found) if values is None]
        done = 0
        for index in unrecognised:
            self._check_values(first + done, [values for values in found[done:index] if values is not None])
            self._check_values(first + index, [self._parse(first + index, texts[index].encode())])
            done = index + 1
            if self._reader is not reader:
                return done
        self._check_values(first + done, [values for values in found[done:] if values is not None])
        return len(texts)

    def _parse(self, number: int, line: bytes) -> Values:
        """Return the values of a line that no pattern recognises."""
        place = _place(number)
        try:
            record = parse_canonical(line, place)
            reader = self._reader_of(record, place)
            values = reader.read_parsed(record, place)
        except EvidenceError as error:
            raise StepError(Step.LINES, error.place, error.problem) from error
        self._check_type(number, reader)
        return values

    def _reader_of(self, record: Mapping[str, Json], place: str) -> RecordReader:
        name = record.get("record_type")
        reader = self._readers.get(name) if isinstance(name, str) else None
        if reader is None:
            expected = f"expected one of {', '.join(self._readers)}"
            raise EvidenceError(f"{place}: record_type", f"{expected}, got {shown(name)}")
        return reader

    def _check_type(self, number: int, reader: RecordReader) -> None:
        """Check that a record's type is not an earlier one."""
        name, last = reader.rules.name, self._reader.rules.name
        if not self.counts and name != self._run.name:
            raise _line_error(number, f"expected the {self._run.name} record first, got one of type {name}")
        if self._positions[name] < self._positions[last]:
            problem = f"expected a record of type {last} or a later one, got one of type {name}: out of order"
            raise _line_error(number, problem)
        if name != last:
            self._go_on_to(reader)

    def _go_on_to(self, reader: RecordReader) -> None:
        """Make another type the current one, and drop unneeded keys."""
        self._reader, self._last = reader, None
        self._first_lines[reader.rules.name] = self.counts.total() + 1
        position = self._positions[reader.rules.name]
        self._keys = {name: keys for name, keys in self._keys.items() if self._needed[name] >= position}

    def _check_values(self, first: int, values: Sequence[Values]) -> None:
        if not values:
            return
        if not self.counts:
            self._begin(values[0])
        self._check_columns(first, list(zip(*values, strict=True)))

    def _check_columns(self, first: int, columns: Columns) -> None:
        batch = self.segment_reader.batch(self._reader, columns)
        if is_sound_alone(batch) and self._take(batch.segment()):
            return
        for number, each in enumerate(zip(*columns, strict=True), start=first):
            single = self.segment_reader.batch(self._reader, [(value,) for value in each])
            arrival = self._arrival(single.segment())
            problem = find_problem(single, arrival)
            if problem is not None:
                raise StepError(problem.step, f"{_place(number)}: {problem.field}", problem.text)
            self._enter(arrival)

    def _begin(self, values: Values) -> None:
        """Read the run's own record, which comes first."""
        reader = self._reader
        self.run_id = values[0]
        if reader.status_index is not None:
            self.run_status = values[reader.status_index]
            self._strict = self.run_status in reader.rules.final - reader.rules.abandoned

    def _take(self, segment: Segment) -> bool:
        """Accept a segment of the current type if sound."""
        arrival = self._arrival(segment)
        if not is_sound_after(arrival):
            return False
        self._enter(arrival)
        return True

    def _arrival(self, segment: Segment) -> Arrival:
        return Arrival(
            reader=self._reader,
            segment=segment,
            run_id=self.run_id,
            run_status=self.run_status,
            last=self._last,
            keys=self._keys,
            strict=self._strict,
        )

    def _enter(self, arrival: Arrival) -> None:
        segment, name = arrival.segment, arrival.segment.record_type
        self._accountant.take(name, self.counts[name], segment.facts, arrival.links, self._keys.get(_TOKEN))
        self._last = segment.last
        self.counts[name] += segment.size
        self.unfinished += segment.unfinished
        if name in self._keys:
            self._keys[name].take(segment.keys)


def _decoded(lines: Sequence[bytes]) -> list[str]:
    """Decode the lines before the first that is not UTF-8."""
    texts: list[str] = []
    try:
        texts.extend(line.decode() for line in lines)
    except UnicodeDecodeError:
        return texts
    return texts


def _place(number: int) -> str:
    return f"{RECORDS}, line {number}"


def _line_error(number: int, problem: str) -> StepError:
    return StepError(Step.LINES, _place(number), problem)
