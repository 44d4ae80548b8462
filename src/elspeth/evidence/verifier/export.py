"""Verification of exports that are not bags.

An HMAC signature can only be checked with the key that made it, so it proves nothing to a third party. The hash alone
reveals damage, not forgery. `ExportCheck` holds the rules of lines, manifest, hash and signatures; `verify_export`
reports them step by step, and importing adds the rules of the schema.
"""

from __future__ import annotations

import hmac
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256

from elspeth.evidence.format.canonical import Json, canonical, parse_canonical, shown_json
from elspeth.evidence.format.errors import EvidenceError, printable
from elspeth.evidence.format.export_lines import MANIFEST
from elspeth.evidence.verifier.procedure import Step, StepError, Steps, Verdict, Verification

__all__ = ["ExportCheck", "ExportRules", "judge_signature", "reading_line", "verify_export"]


_RUN_TYPE = "run"
_PROGRESS_EVERY = 10_000

_LONGEST = 200
"""The length to which a message cuts a value, in characters."""


_SIGNATURE = re.compile("[0-9a-f]{64}")


_Line = tuple[str, bytes]
"""A line and its place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportRules:
    """The newest known epoch, and the final states of runs."""

    newest_epoch: int
    ended: Collection[str]


class ExportCheck:
    """The rules of one export, from run to manifest.

    1. The run comes first, and all records are of that run.
    2. All records are signed, or none; with a key, every signature is right.
    3. Every field of the manifest agrees with the records before it, and nothing follows the manifest.

    Subclasses replace the first rule by others.
    """

    first_type = _RUN_TYPE

    stated_only: frozenset[str] = frozenset({"epoch", "withheld"})
    """Fields of the manifest that cannot be derived from the records."""

    def __init__(self, signing_key: bytes | None = None) -> None:
        self.counts: Counter[str] = Counter()
        self.run_id: str | None = None
        self.run_status: str | None = None
        self.is_signed = False
        self.is_complete = False
        self._key = signing_key
        self._digest = sha256()

    @property
    def count(self) -> int:
        """The number of records before the manifest."""
        return self.counts.total()

    def add(self, place: str, record: Mapping[str, Json], line: bytes) -> None:
        """Check the next record, given with its canonical JSON.

        Raises StepError if a rule is broken.
        """
        self._require_open(place)
        kind = record.get("record_type")
        if not isinstance(kind, str):
            raise StepError(Step.LINES, f"{place}: record_type", f"expected text, got {shown_json(kind)}")
        self._check_content(place, record, kind)
        self._check_signature(place, record, line)
        self.counts[kind] += 1
        self._digest.update(line + b"\n")

    def close(
        self, place: str, manifest: Mapping[str, Json], line: bytes, expected: Mapping[str, Json] | None = None
    ) -> None:
        """Check the manifest, given with its canonical JSON.

        `expected` holds the values of `epoch` and `withheld`, for callers that know them. Raises StepError if a field
        does not agree with the records.
        """
        self._require_open(place)
        if not self.counts:
            raise StepError(Step.LINES, place, f"expected the {self.first_type} record first, got a manifest")
        derived = {**self._derived(), **(expected or {})}
        for name in sorted((manifest.keys() - {"signature"}) ^ {*derived, *self.stated_only}):
            problem = "no field of this name, got one" if name in manifest else "this field, got none"
            raise StepError(Step.COUNTS, f"{place}: manifest: {name}", f"expected {problem}")
        for name, value in derived.items():
            if canonical(manifest[name]) != canonical(value):
                problem = f"expected {shown_json(value)}, derived from what comes before"
                got = shown_json(manifest[name])
                raise StepError(Step.COUNTS, f"{place}: manifest: {name}", f"{problem}, got {got}")
        self._check_signature(place, manifest, line)
        self.is_complete = True

    def require_manifest(self, place: str) -> None:
        """Raise StepError unless the manifest was seen."""
        if not self.is_complete:
            raise StepError(Step.STRUCTURE, place, "expected the manifest, got the end: the export is incomplete")

    def _require_open(self, place: str) -> None:
        if self.is_complete:
            raise StepError(Step.STRUCTURE, place, "expected nothing after the manifest, got a record")

    def _check_content(self, place: str, record: Mapping[str, Json], kind: str) -> None:
        """Check a record apart from its signature."""
        run_id = record.get("run_id")
        if not self.counts:
            if kind != _RUN_TYPE:
                raise StepError(
                    Step.LINES, place, f"expected the run record first, got one of type {printable(kind[:_LONGEST])}"
                )
            if not isinstance(run_id, str):
                raise StepError(Step.LINES, f"{place}: run_id", f"expected text, got {shown_json(run_id)}")
            self.run_id, self.run_status = run_id, str(record.get("status"))
            self.is_signed = "signature" in record
        elif run_id != self.run_id:
            problem = f"expected {shown_json(self.run_id)} as in the records before, got {shown_json(run_id)}"
            raise StepError(Step.LINES, f"{place}: run_id", problem)

    def _check_signature(self, place: str, record: Mapping[str, Json], line: bytes) -> None:
        problem = self._signature_problem(record, line)
        if problem is not None:
            raise StepError(Step.SIGNATURE, f"{place}: signature", f"expected {problem}")

    def _signature_problem(self, record: Mapping[str, Json], line: bytes) -> str | None:
        if ("signature" in record) != self.is_signed:
            expected, got = ("a signature", "none") if self.is_signed else ("none", "a signature")
            return f"{expected} as in the records before, got {got}"
        if not self.is_signed:
            return None if self._key is None else "one by the key given, got an unsigned export"
        signature = record["signature"]
        if not isinstance(signature, str) or _SIGNATURE.fullmatch(signature) is None:
            return f"64 hexadecimal digits, got {shown_json(signature)}"
        # This cannot occur inside a text of the line, where quotes are escaped.
        unsigned = line.replace(f',"signature":"{signature}"'.encode(), b"", 1)
        if self._key is None or hmac.compare_digest(hmac.digest(self._key, unsigned, "sha256").hex(), signature):
            return None
        return f"one by the key given, got {signature}: the record was altered, or signed with another key"

    def _described(self) -> dict[str, Json]:
        """Return the manifest's fields about the run."""
        return {"run_id": self.run_id, "run_status": self.run_status}

    def _derived(self) -> dict[str, Json]:
        return {
            "record_type": MANIFEST,
            **self._described(),
            "record_count": self.count,
            "counts": dict(self.counts),
            "hash_algorithm": "sha256",
            "final_hash": self._digest.hexdigest(),
            "signature_algorithm": "hmac-sha256" if self.is_signed else None,
        }


def verify_export(
    lines: Iterable[_Line],
    rules: ExportRules,
    *,
    signing_key: bytes | None = None,
    progress: Callable[[int], None] | None = None,
) -> Verification:
    """Verify an export by the steps that it allows.

    `lines` are without line feeds, each with its place. Without a key the best verdict is that the export is
    consistent. `progress` is called from time to time with the number of lines. Problems of the evidence are never
    raised, they are in the result.
    """
    check = ExportCheck(signing_key)
    steps = Steps()
    with steps.of(Step.STRUCTURE):
        first = None
        for number, (place, line) in enumerate(lines, start=1):
            first = first or place
            _check_line(check, rules, place, line)
            if progress is not None and number % _PROGRESS_EVERY == 0:
                progress(number)
        check.require_manifest("end")
        steps.passed(Step.STRUCTURE, "complete, with its manifest at the end")
        steps.passed(Step.LINES, f"{check.count:,} records in canonical JSON, of one run")
        steps.passed(Step.COUNTS, f"{check.count:,} records of {len(check.counts)} types, with the hash stated")
    sound = judge_signature(steps, check, signing_key)
    with steps.of(Step.LIFECYCLES):
        if check.is_complete:
            _check_ended(check, rules, first)
            detail = f"the run is {check.run_status}; only a bag can be checked for whether its records are finished"
            steps.not_part(Step.LIFECYCLES, detail=detail)
    rest = (Step.STATEMENT, Step.ROOT, Step.REFERENCES, Step.ACCOUNTING, Step.LOG)
    steps.not_part(*rest, detail="only a bag can be checked for it")
    return steps.result(sound, run_id=check.run_id, record_count=check.count)


@contextmanager
def reading_line(place: str) -> Iterator[None]:
    """Raise StepError for errors in a line."""
    try:
        yield
    except EvidenceError as error:
        raise StepError(Step.LINES, place, error.problem) from error


def _check_line(check: ExportCheck, rules: ExportRules, place: str, line: bytes) -> None:
    with reading_line(place):
        record = parse_canonical(line, place)
    if record.get("record_type") != MANIFEST:
        check.add(place, record, line)
        return
    epoch, newest = record.get("epoch"), rules.newest_epoch
    if type(epoch) is not int or epoch > newest:
        problem = f"expected an epoch up to {newest}, got {shown_json(epoch)}: a later version of elspeth can verify it"
        raise StepError(Step.STRUCTURE, f"{place}: manifest: epoch", problem)
    check.close(place, record, line)


def _check_ended(check: ExportCheck, rules: ExportRules, place: str | None) -> None:
    """Raise StepError unless the run has ended.

    Of a run that has not ended, more may have been recorded after the export.
    """
    if check.run_status not in rules.ended:
        problem = f"expected a run that has ended, got {check.run_status!r}: what followed is not in this export"
        raise StepError(Step.LIFECYCLES, f"{place}: status", problem)


def judge_signature(steps: Steps, check: ExportCheck, signing_key: bytes | None) -> Verdict:
    """Take step 2, and return the best possible verdict."""
    if not check.is_complete:
        return Verdict.NOT_VERIFIED
    if signing_key is not None:
        signed = "every record is signed by the key given, as others who hold it could have signed"
        steps.passed(Step.SIGNATURE, signed)
        return Verdict.VERIFIED
    if check.is_signed:
        steps.open(Step.SIGNATURE, "its records have HMAC signatures, which were not checked: --hmac checks them")
        return Verdict.SIGNATURE_UNCHECKED
    steps.open(Step.SIGNATURE, "an export without signatures, which anybody could have written")
    return Verdict.UNSIGNED
