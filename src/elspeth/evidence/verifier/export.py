"""Verifies exports that are no bags by the steps that they allow: their lines, their hash, and HMAC signatures.

Whoever can check such a signature holds the key, and could have made it: it shows a third party nothing. The hash alone
shows damage, and no forgery.
"""

from __future__ import annotations

import hmac
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import orjson

from elspeth.evidence.format import layout
from elspeth.evidence.format.canonical import Json, parse_canonical
from elspeth.evidence.format.errors import EvidenceError, shown
from elspeth.evidence.verifier.lines import batches_of_lines
from elspeth.evidence.verifier.procedure import Step, StepError, Steps, Verdict, Verification

__all__ = ["ExportRules", "looks_like_export", "read_lines", "verify_export"]

_MANIFEST = "manifest"
_MANIFEST_FILE = "manifest.json"
"""Where an export of several files has its manifest."""
_BLOCK = 1 << 20
_PROGRESS_EVERY = 10_000

_MAX_INTEGER = 2**53 - 1
_PLAIN = frozenset({str, bool, type(None)})
"""Types whose JSON has one spelling only."""

_RUN = re.compile(rb'\A(?:\[\n)?\{[^\n]{0,65536}?"record_type":"run"')
"""How an export in text begins; within a text of a record, the quotes would be escaped."""

_Line = tuple[str, bytes]
"""A line, and where it stands."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportRules:
    """What the verifier has to be told: the newest epoch that is known, and the states of a run that has ended."""

    newest_epoch: int
    ended: Collection[str]


def verify_export(
    lines: Iterable[_Line],
    rules: ExportRules,
    *,
    signing_key: bytes | None = None,
    progress: Callable[[int], None] | None = None,
) -> Verification:
    """Verify an export, given as its lines without line feeds, each with its place.

    Without a key, the best verdict is that it is consistent. `progress` is called with the number of lines, now and
    then. Never raises for what is wrong with the evidence: that is the result.
    """
    export = _Export(rules, signing_key)
    steps = Steps()
    with steps.of(Step.STRUCTURE):
        for number, (place, line) in enumerate(lines, start=1):
            export.take(place, line)
            if progress is not None and number % _PROGRESS_EVERY == 0:
                progress(number)
        export.close()
        steps.passed(Step.STRUCTURE, "complete, with its manifest at the end")
        steps.passed(Step.LINES, f"{export.count:,} records in canonical JSON, of one run")
        steps.passed(Step.COUNTS, f"{export.count:,} records of {len(export.counts)} types, with the hash stated")
    sound = _judge_signature(steps, export, signing_key)
    with steps.of(Step.LIFECYCLES):
        if export.is_complete:
            export.check_end()
            detail = f"the run is {export.run_status}; only a bag can be checked for whether its records are finished"
            steps.not_part(Step.LIFECYCLES, detail=detail)
    rest = (Step.STATEMENT, Step.ROOT, Step.REFERENCES, Step.ACCOUNTING)
    steps.not_part(*rest, detail="only a bag can be checked for it")
    return steps.result(sound, run_id=export.run_id, record_count=export.count)


def looks_like_export(path: Path) -> bool:
    """Return whether a directory has the manifest of an export, or a file begins with a run record as exports do."""
    if path.is_dir():
        return (path / _MANIFEST_FILE).is_file() and not (path / layout.BAGIT).is_file()
    try:
        with path.open("rb") as file:
            return _RUN.match(file.read(_BLOCK)) is not None
    except OSError:
        return False


def read_lines(path: Path) -> Iterator[_Line]:
    """Yield the lines of a file that hold records: all of them, or the elements of an array with one on each line.

    Raises EvidenceError for a file that cannot be read, or is laid out otherwise.
    """
    lines = _numbered_lines(path)
    first = next(lines, None)
    if first is None:
        raise EvidenceError(str(path), "expected an export, got an empty file")
    if first[1] != b"[":
        yield first
        yield from lines
        return
    for place, line in lines:
        yield place, line.removesuffix(b",")
        if not line.endswith(b","):
            if next(lines, ("", b""))[1] != b"]" or next(lines, None) is not None:
                raise EvidenceError(place, "expected ']' and the end after a record without comma")
            return
    raise EvidenceError("end", "expected ']', got the end of the file: it is truncated")


def _judge_signature(steps: Steps, export: _Export, signing_key: bytes | None) -> Verdict:
    """Take step 2; the verdict that stands if all other steps pass."""
    if not export.is_complete:
        return Verdict.NOT_VERIFIED
    if signing_key is not None:
        signed = "every record is signed by the key given, as others who hold it could have signed"
        steps.passed(Step.SIGNATURE, signed)
        return Verdict.VERIFIED
    if export.is_signed:
        steps.open(Step.SIGNATURE, "its records have HMAC signatures, which were not checked: --hmac checks them")
        return Verdict.SIGNATURE_UNCHECKED
    steps.open(Step.SIGNATURE, "an export without signatures, which anybody could have written")
    return Verdict.UNSIGNED


class _Export:
    """Follows one export from its first record to its manifest."""

    def __init__(self, rules: ExportRules, signing_key: bytes | None) -> None:
        self.counts: Counter[str] = Counter()
        self.run_id: str | None = None
        self.run_status: str | None = None
        self.is_signed = False
        self._rules = rules
        self._key = signing_key
        self._digest = sha256()
        self.is_complete = False
        self._run_place = ""

    @property
    def count(self) -> int:
        """Records before the manifest."""
        return self.counts.total()

    def take(self, place: str, line: bytes) -> None:
        """Check the next line. StepError with its place and what is wrong with it."""
        if self.is_complete:
            raise StepError(Step.STRUCTURE, place, "expected nothing after the manifest, got a record")
        try:
            record = _parsed(line, place)
        except EvidenceError as error:
            raise StepError(Step.LINES, place, error.problem) from error
        kind = record.get("record_type")
        if not isinstance(kind, str):
            raise StepError(Step.LINES, f"{place}: record_type", f"expected text, got {shown(kind)}")
        if kind == _MANIFEST:
            self._check_epoch(record, place)
        self._check_run(record, kind, place)
        self._check_signature(record, line, place)
        if kind == _MANIFEST:
            self._check_manifest(record, place)
            self.is_complete = True
            return
        self.counts[kind] += 1
        self._digest.update(line + b"\n")

    def close(self) -> None:
        """Nothing follows. StepError if the manifest is missing."""
        if not self.is_complete:
            raise StepError(Step.STRUCTURE, "end", "expected the manifest, got the end: the export is incomplete")

    def check_end(self) -> None:
        """Check that the run has ended. StepError otherwise: more may have been recorded since."""
        if self.run_status not in self._rules.ended:
            problem = f"expected a run that has ended, got {self.run_status!r}: what followed is not in this export"
            raise StepError(Step.LIFECYCLES, f"{self._run_place}: status", problem)

    def _check_signature(self, record: Mapping[str, Json], line: bytes, place: str) -> None:
        signature = record.get("signature")
        if self._key is None:
            if isinstance(signature, str) != self.is_signed:
                raise StepError(Step.SIGNATURE, f"{place}: signature", "expected one in every record or in none")
            return
        # A record is flat: within a text the quotes would be escaped.
        unsigned = line.replace(f',"signature":{_json(signature)}'.encode(), b"", 1)
        derived = hmac.digest(self._key, unsigned, "sha256").hex()
        if not isinstance(signature, str) or not hmac.compare_digest(signature.encode(), derived.encode()):
            got = "none" if signature is None else shown(signature)
            problem = f"expected one by the key given, got {got}: the record was altered, or the key is another"
            raise StepError(Step.SIGNATURE, f"{place}: signature", problem)

    def _check_run(self, record: Mapping[str, Json], kind: str, place: str) -> None:
        run_id = record.get("run_id")
        if not self.counts:
            if kind != "run" or not isinstance(run_id, str):
                raise StepError(Step.LINES, place, f"expected the run record first, got {shown(kind)}")
            self.run_id, self.run_status, self._run_place = run_id, str(record.get("status")), place
            self.is_signed = "signature" in record
        elif run_id != self.run_id:
            problem = f"expected {shown(self.run_id)} as in the records before, got {shown(run_id)}"
            raise StepError(Step.LINES, f"{place}: run_id", problem)

    def _check_epoch(self, manifest: Mapping[str, Json], place: str) -> None:
        epoch, newest = manifest.get("epoch"), self._rules.newest_epoch
        if type(epoch) is not int or epoch > newest:
            problem = f"expected an epoch up to {newest}, got {shown(epoch)}: a later version of elspeth can verify it"
            raise StepError(Step.STRUCTURE, f"{place}: manifest: epoch", problem)

    def _check_manifest(self, manifest: Mapping[str, Json], place: str) -> None:
        derived: dict[str, Json] = {
            "run_id": self.run_id,
            "run_status": self.run_status,
            "record_count": self.count,
            "counts": dict(self.counts),
            "hash_algorithm": "sha256",
            "final_hash": self._digest.hexdigest(),
            "signature_algorithm": "hmac-sha256" if self.is_signed else None,
        }
        for name, expected in derived.items():
            if name not in manifest or manifest[name] != expected:
                problem = f"expected {shown(expected)}, derived from the lines before, got {shown(manifest.get(name))}"
                raise StepError(Step.COUNTS, f"{place}: manifest: {name}", problem)
        known = {*derived, "record_type", "epoch", "withheld", "signature"}
        for name in manifest:
            if name not in known:
                raise StepError(Step.COUNTS, f"{place}: manifest: {name}", "expected no field of this name, got one")


def _parsed(line: bytes, place: str) -> Mapping[str, Json]:
    """Return the members of a canonical JSON object; EvidenceError for any other bytes."""
    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError:
        return parse_canonical(line, place)
    # Where no value has two spellings and no name two orders, sorted JSON is canonical: that is quickly told.
    if (
        isinstance(record, dict)
        and all(_is_plain(value) for value in record.values())
        and all(map(str.isascii, record))
        and orjson.dumps(record, option=orjson.OPT_SORT_KEYS) == line
    ):
        return record
    return parse_canonical(line, place)


def _is_plain(value: object) -> bool:
    return type(value) in _PLAIN or (type(value) is int and -_MAX_INTEGER <= value <= _MAX_INTEGER)


def _json(value: Json) -> str:
    return orjson.dumps(value).decode()


def _numbered_lines(path: Path) -> Iterator[_Line]:
    number = 0
    for lines in batches_of_lines(_blocks(path), str(path)):
        for line in lines:
            number += 1
            yield f"line {number}", line


def _blocks(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                yield block
    except OSError as error:
        raise EvidenceError(str(path), f"cannot be read: {error.strerror}") from error
