"""Verifies `jsonl` and `json` exports whose records carry an HMAC-SHA256, by the steps that they allow.

Whoever can check such a signature holds the key, and could have made it: it shows a third party nothing.
"""

from __future__ import annotations

import hmac
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from hashlib import sha256
from pathlib import Path

from elspeth.evidence.canonical import Json, canonical, parse_canonical
from elspeth.evidence.errors import EvidenceError, shown
from elspeth.evidence.lines import batches_of_lines
from elspeth.evidence.procedure import Step, StepError, Steps, Verdict, Verification

__all__ = ["verify_hmac_export"]

_MANIFEST = "manifest"
_BLOCK = 1 << 20
_PROGRESS_EVERY = 1000

_NumberedLine = tuple[int, bytes]


def verify_hmac_export(
    path: Path, signing_key: bytes, *, progress: Callable[[int], None] | None = None
) -> Verification:
    """Verify an export; `progress` is called with the number of lines read, now and then.

    Never raises for what is wrong with the evidence: that is the result. EvidenceError if the file cannot be read.
    """
    export = _Export(signing_key)
    steps = Steps()
    with steps.of(Step.STRUCTURE):
        for number, line in _records(path):
            export.take(number, line)
            if progress is not None and number % _PROGRESS_EVERY == 0:
                progress(number)
        export.close()
        steps.passed(Step.STRUCTURE, "complete, with its manifest at the end")
        steps.passed(Step.SIGNATURE, "every record is signed by the key given, as others who hold it could have signed")
        steps.passed(Step.LINES, f"{export.count:,} records in canonical JSON, of one run")
        steps.passed(Step.COUNTS, f"{export.count:,} records of {len(export.counts)} types")
    rest = (Step.STATEMENT, Step.ROOT, Step.REFERENCES, Step.LIFECYCLES)
    steps.not_part(*rest, detail="only a bag can be checked for it")
    return steps.result(Verdict.VERIFIED, run_id=export.run_id, record_count=export.count)


class _Export:
    """Follows one export from its first record to its manifest."""

    def __init__(self, signing_key: bytes) -> None:
        self.counts: Counter[str] = Counter()
        self.run_id: str | None = None
        self._key = signing_key
        self._digest = sha256()
        self._run: Mapping[str, Json] = {}
        self._closed_at: int | None = None

    @property
    def count(self) -> int:
        """Records before the manifest."""
        return self.counts.total()

    def take(self, number: int, line: bytes) -> None:
        """Check the next line. StepError with the line and what is wrong with it."""
        place = f"line {number}"
        if self._closed_at is not None:
            raise StepError(Step.STRUCTURE, place, "expected nothing after the manifest, got a record")
        try:
            record = parse_canonical(line, place)
        except EvidenceError as error:
            raise StepError(Step.LINES, place, error.problem) from error
        self._check_signature(record, place)
        kind = record.get("record_type")
        if not isinstance(kind, str):
            raise StepError(Step.LINES, f"{place}: record_type", f"expected text, got {shown(kind)}")
        if kind == _MANIFEST:
            self._check_manifest(record, place)
            self._closed_at = number
            return
        self._check_run(record, kind, place)
        self.counts[kind] += 1
        self._digest.update(line + b"\n")

    def close(self) -> None:
        """Nothing follows. StepError if the manifest is missing."""
        if self._closed_at is None:
            raise StepError(Step.STRUCTURE, "end", "expected the manifest, got the end: the export is incomplete")

    def _check_signature(self, record: Mapping[str, Json], place: str) -> None:
        signature = record.get("signature")
        unsigned = canonical({name: value for name, value in record.items() if name != "signature"})
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
            self.run_id, self._run = run_id, record
        elif run_id != self.run_id:
            problem = f"expected {shown(self.run_id)} as in the records before, got {shown(run_id)}"
            raise StepError(Step.LINES, f"{place}: run_id", problem)

    def _check_manifest(self, manifest: Mapping[str, Json], place: str) -> None:
        derived: dict[str, Json] = {
            "run_id": self.run_id,
            "run_status": self._run.get("status"),
            "record_count": self.count,
            "counts": dict(self.counts),
            "hash_algorithm": "sha256",
            "final_hash": self._digest.hexdigest(),
            "signature_algorithm": "hmac-sha256",
        }
        for name, expected in derived.items():
            if manifest.get(name) != expected:
                problem = f"expected {shown(expected)}, derived from the lines before, got {shown(manifest.get(name))}"
                raise StepError(Step.COUNTS, f"{place}: manifest: {name}", problem)


def _records(path: Path) -> Iterator[_NumberedLine]:
    """The lines that hold records: all of them, or the elements of an array that has one on each line."""
    lines = _lines(path)
    first = next(lines, None)
    if first is None:
        raise EvidenceError(str(path), "expected an export, got an empty file")
    if first[1] != b"[":
        yield first
        yield from lines
        return
    more = True
    for number, line in lines:
        if not more:
            if line != b"]" or next(lines, None) is not None:
                raise EvidenceError(f"line {number}", "expected ']' and the end after a record without comma")
            return
        more = line.endswith(b",")
        yield number, line.removesuffix(b",")
    raise EvidenceError("end", "expected ']', got the end of the file: it is truncated")


def _lines(path: Path) -> Iterator[_NumberedLine]:
    number = 0
    for lines in batches_of_lines(_blocks(path), str(path)):
        yield from enumerate(lines, start=number + 1)
        number += len(lines)


def _blocks(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                yield block
    except OSError as error:
        raise EvidenceError(str(path), f"cannot be read: {error.strerror}") from error
