"""Verification of databases that were exported as found.

Nothing is known about such a database except what the export itself says, so there are no references, lifecycles or
laws to check. The verifier checks that the export is complete and exact: every table once and in order, every row
numbered, every value in the form of its column.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

from elspeth.evidence.format.bag import RECORDS
from elspeth.evidence.format.canonical import Json, Members, parse_canonical
from elspeth.evidence.format.errors import EvidenceError, printable, shown
from elspeth.evidence.format.export_lines import MANIFEST
from elspeth.evidence.format.found import (
    DATABASE,
    KEYS,
    PREDICATE_TYPE,
    ROW,
    TABLE,
    Column,
    DatabaseFacts,
    Form,
    read_value,
    row_schema,
)
from elspeth.evidence.verifier.export import ExportCheck, judge_signature, reading_line
from elspeth.evidence.verifier.procedure import Step, StepError, Steps, Verification

__all__ = ["FoundChecker", "FoundExportCheck", "counted", "pass_over", "verify_found_export"]

_PROGRESS_EVERY = 10_000


class FoundRecords:
    """Checks the records, for all forms of exports.

    The database comes first, then its tables in the order of their names, each followed by its rows, numbered from 1.
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.facts: DatabaseFacts | None = None
        self._table: tuple[str, str] | None = None
        self._has_rows = False
        self._rows = 0
        self._forms: Mapping[str, Form] = {}

    def take(self, record: Mapping[str, Json], place: str) -> None:
        """Check the next record, apart from its signature.

        Raises EvidenceError if it breaks a rule.
        """
        members = Members(record, place)
        kind = members.text("record_type")
        if (kind == DATABASE) == bool(self.counts):
            expected = f"one record of type {DATABASE}, the first"
            raise EvidenceError(f"{place}: record_type", f"expected {expected}, got one of type {printable(kind)}")
        if kind == DATABASE:
            self._take_database(members)
        elif kind == TABLE:
            self._take_table(members, place)
        elif kind == ROW:
            self._take_row(members, place)
        else:
            raise EvidenceError(f"{place}: record_type", f"expected {', '.join(KEYS)}, got {shown(kind)}")
        members.close()
        self.counts[kind] += 1

    def _take_database(self, members: Members) -> None:
        self.facts = DatabaseFacts.from_members(members)
        members.text("version")
        members.text("encoding")

    def _take_table(self, members: Members, place: str) -> None:
        name = members.text("schema"), members.text("table")
        if self._table is not None and name <= self._table:
            problem = f"expected a table after {shown(self._table)}, got {shown(name)}: repeated, or out of order"
            raise EvidenceError(f"{place}: table", problem)
        members.text("kind")
        members.optional_text("definition")
        members.texts("key")
        has_rows = members.optional_text("order") is not None
        columns = [
            Column(name=each.text("name"), type=each.text("type"), form=_form(each.text("form"), place))
            for each in members.objects("columns")
        ]
        forms = {column.name: column.form for column in columns}
        if len(forms) != len(columns):
            raise EvidenceError(f"{place}: columns", "expected each column once")
        if members.optional_object("row_schema") != row_schema(columns):
            raise EvidenceError(f"{place}: row_schema", "expected the JSON Schema that the columns make, got another")
        self._table, self._rows, self._forms = name, 0, forms
        self._has_rows = has_rows

    def _take_row(self, members: Members, place: str) -> None:
        name = members.text("schema"), members.text("table")
        if name != self._table or not self._has_rows:
            of = f"of {shown(self._table)}" if self._has_rows else "of no table before the next one"
            raise EvidenceError(f"{place}: table", f"expected a row {of}, got one of {shown(name)}")
        number = members.number("number")
        if number != self._rows + 1:
            problem = f"expected {self._rows + 1}, got {number}: rows are missing, repeated or out of order"
            raise EvidenceError(f"{place}: number", problem)
        self._rows = number
        values = members.optional_object("values")
        if values is None or values.keys() != self._forms.keys():
            found = None if values is None else sorted(values)
            expected = f"expected the columns {shown(sorted(self._forms))}"
            raise EvidenceError(f"{place}: values", f"{expected}, got {shown(found)}")
        for column, value in values.items():
            try:
                read_value(self._forms[column], value)
            except (ValueError, OverflowError) as error:
                where = f"{place}: values: {printable(column)}"
                raise EvidenceError(where, f"expected a value of the form {self._forms[column]}: {error}") from error


class FoundChecker:
    """Checks the lines of a bag."""

    def __init__(self) -> None:
        self._records = FoundRecords()

    @property
    def counts(self) -> Counter[str]:
        """The number of records of each type so far."""
        return self._records.counts

    @property
    def facts(self) -> DatabaseFacts | None:
        """What the first record says about the database."""
        return self._records.facts

    def take(self, segments: Sequence[object]) -> int:  # noqa: ARG002  as TrailChecker has it
        """Return 0, because every line is checked by itself."""
        return 0

    def check(self, first: int, lines: Sequence[bytes]) -> None:
        """Check the next lines.

        `first` is the number of the first of them. Raises StepError for the first line at fault.
        """
        for number, line in enumerate(lines, start=first):
            place = f"{RECORDS}, line {number}"
            try:
                self._records.take(parse_canonical(line, place), place)
            except EvidenceError as error:
                raise StepError(Step.LINES, error.place, error.problem) from error


class FoundExportCheck(ExportCheck):
    """The rules of an export that is not a bag."""

    first_type = DATABASE
    stated_only: frozenset[str] = frozenset()

    def __init__(self, signing_key: bytes | None = None) -> None:
        super().__init__(signing_key)
        self._records = FoundRecords()

    @property
    def facts(self) -> DatabaseFacts | None:
        """What the first record says about the database."""
        return self._records.facts

    def _check_content(self, place: str, record: Mapping[str, Json], kind: str) -> None:  # noqa: ARG002  unlike a run
        if not self.counts:
            self.is_signed = "signature" in record
        try:
            self._records.take({name: record[name] for name in record if name != "signature"}, place)
        except EvidenceError as error:
            raise StepError(Step.LINES, error.place, error.problem) from error

    def _described(self) -> dict[str, Json]:
        facts = {} if self.facts is None else self.facts.to_json()
        return {"kind": PREDICATE_TYPE, **facts}


def verify_found_export(
    lines: Iterable[tuple[str, bytes]],
    *,
    signing_key: bytes | None = None,
    progress: Callable[[int], None] | None = None,
) -> Verification:
    """Verify an export that is not a bag.

    The arguments are those of `verify_export`.
    """
    check, steps = FoundExportCheck(signing_key), Steps()
    with steps.of(Step.STRUCTURE):
        for number, (place, line) in enumerate(lines, start=1):
            with reading_line(place):
                record = parse_canonical(line, place)
            if record.get("record_type") == MANIFEST:
                check.close(place, record, line)
            else:
                check.add(place, record, line)
            if progress is not None and number % _PROGRESS_EVERY == 0:
                progress(number)
        check.require_manifest("end")
        steps.passed(Step.STRUCTURE, "complete, with its manifest at the end")
        steps.passed(Step.LINES, f"{check.count:,} records in canonical JSON, of one database, in order")
        steps.passed(Step.COUNTS, f"{counted(check.counts)}, with the hash stated")
    sound = judge_signature(steps, check, signing_key)
    steps.not_part(Step.STATEMENT, Step.ROOT, detail="only a bag can be checked for it")
    pass_over(steps)
    scope = None if check.facts is None else check.facts.scope
    return steps.result(sound, run_id=None, record_count=check.count, scope=scope)


def counted(counts: Mapping[str, int]) -> str:
    """Return the counts of a database for people."""
    return f"{counts[TABLE]:,} tables and views, {counts[ROW]:,} rows"


def pass_over(steps: Steps) -> None:
    """Note that steps 7 to 10 do not apply."""
    unknown = "a database as found: nothing says what it should have held"
    steps.not_part(Step.REFERENCES, Step.LIFECYCLES, Step.ACCOUNTING, Step.LOG, detail=unknown)


def _form(text: str, place: str) -> Form:
    try:
        return Form(text)
    except ValueError as error:
        raise EvidenceError(f"{place}: columns", f"expected a form of {', '.join(Form)}, got {shown(text)}") from error
