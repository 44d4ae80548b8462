"""What must hold for a complete, unaltered export, checked record by record.

For each record:

1. Its type is known and it is flat.
2. The run comes first, types come in export order, and all records are of one run.
3. It keeps the schema's rules.
4. Its key is greater than that of the record before it: none is repeated or out of place.
5. It is like the others: all are signed or none, all carry what may be withheld or none.
6. With a key: its signature is right.

For the manifest: it is, field by field, what the records before it make it; with a key, its signature is right.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import NamedTuple, cast

from elspeth.core.canonical import canonical_bytes, canonical_json
from elspeth.core.landscape.export.signing import MANIFEST, ManifestBuilder, signature_of
from elspeth.core.landscape.mapping import mapper
from elspeth.schema.checks import AuditIntegrityError
from elspeth_schema.contracts import AuditRecord
from elspeth_schema.records import RECORD_TYPES, RecordType

__all__ = ["Checked", "ExportSummary", "ExportVerifier", "VerificationError"]

_Key = tuple[str | int, ...]

_LONGEST = 200
"""How much of a value a message shows, in characters."""

_SIGNATURE = re.compile("[0-9a-f]{64}")

_POSITIONS = {name: position for position, name in enumerate(RECORD_TYPES)}

_WITHHELD: Mapping[str, frozenset[str]] = {
    record_type.name: frozenset(column.name for column in record_type.columns if column.withheld is not None)
    for record_type in RECORD_TYPES.values()
}


class VerificationError(Exception):
    """What was expected of a record and what was found."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportSummary:
    """What a whole export turned out to be."""

    run_id: str
    run_status: str
    counts: Mapping[str, int]
    signed: bool
    signatures_checked: bool

    @property
    def record_count(self) -> int:
        """Records before the manifest."""
        return sum(self.counts.values())


class Checked(NamedTuple):
    """The type of a record, and its contract, which was not built for a line known to be sound."""

    record_type: RecordType[AuditRecord]
    contract: AuditRecord | None


class ExportVerifier:
    """Follows one export from its first record to its manifest."""

    def __init__(self, signing_key: bytes | None = None) -> None:
        self._key = signing_key
        self._builder = ManifestBuilder()
        self._type: RecordType[AuditRecord] | None = None
        self._run_id: object = None
        self._last_key: _Key = ()
        self._signed = False
        self._include_payloads: bool | None = None
        self._summary: ExportSummary | None = None

    @property
    def summary(self) -> ExportSummary | None:
        """The whole export, once its manifest was found right."""
        return self._summary

    def check(self, record: Mapping[str, object], line: bytes, *, sound: bool = False) -> Checked | None:
        """Check the next record and its canonical JSON. What it is; None for the manifest. VerificationError.

        `sound` says that the line is known to keep the schema's rules.
        """
        if self._summary is not None:
            raise VerificationError("expected nothing after the manifest, got a record")
        if record.get("record_type") != MANIFEST:
            return self._check_record(record, line, sound=sound)
        self._summary = self._check_manifest(record)
        return None

    def _check_record(self, record: Mapping[str, object], line: bytes, *, sound: bool) -> Checked:
        record_type = _known_type(record)
        if not sound:
            _check_flat(record)
        self._check_place(record_type, record)
        contract = None if sound else _contract(record_type, record)
        self._check_key(record_type, record)
        self._check_likeness(record_type, record)
        self._check_signature(record)
        self._type = record_type
        self._builder.add(record, line)
        return Checked(record_type, contract)

    def _check_manifest(self, record: Mapping[str, object]) -> ExportSummary:
        if self._type is None:
            raise VerificationError("expected the run record first, got a manifest")
        include_payloads = record.get("withheld") == [] if self._include_payloads is None else self._include_payloads
        expected = self._builder.manifest(signed=self._signed, include_payloads=include_payloads)
        _check_names(record.keys() - {"signature"}, expected.keys())
        for name, value in expected.items():
            if canonical_bytes(record[name]) != canonical_bytes(value):
                derived = f"{_shown(value)}, derived from what comes before"
                raise VerificationError(f"manifest: {name}: expected {derived}, got {_shown(record[name])}")
        self._check_signed(record)
        self._check_signature(record)
        return ExportSummary(
            run_id=str(self._run_id),
            run_status=str(expected["run_status"]),
            counts=self._builder.counts,
            signed=self._signed,
            signatures_checked=self._key is not None,
        )

    def _check_place(self, record_type: RecordType[AuditRecord], record: Mapping[str, object]) -> None:
        if self._type is None:
            if _POSITIONS[record_type.name] != 0:
                raise VerificationError(f"expected the run record first, got a {record_type.name} record")
            self._run_id = record.get("run_id")
            self._signed = "signature" in record
            return
        if _POSITIONS[record_type.name] < _POSITIONS[self._type.name]:
            expected = f"a {self._type.name} record, or one of a later type"
            raise VerificationError(f"expected {expected}, got a {record_type.name} record")
        if record.get("run_id") != self._run_id:
            expected = f"{_shown(self._run_id)} as in the records before"
            raise VerificationError(f"run_id: expected {expected}, got {_shown(record.get('run_id'))}")

    def _check_key(self, record_type: RecordType[AuditRecord], record: Mapping[str, object]) -> None:
        # The contract vouches for the types; text is ordered by code point, in Python as in both databases.
        key = cast("_Key", tuple(record[name] for name in record_type.order))
        if record_type is self._type and not self._last_key < key:
            names = ", ".join(record_type.order[1:] or record_type.order)
            last, this = (" ".join(map(repr, each[1:] or each)) for each in (self._last_key, key))
            raise VerificationError(f"{names}: expected a value after {last}, got {this}: repeated, or out of order")
        self._last_key = key

    def _check_likeness(self, record_type: RecordType[AuditRecord], record: Mapping[str, object]) -> None:
        self._check_signed(record)
        withheld = _WITHHELD[record_type.name]
        if not withheld:
            return
        present = withheld & record.keys()
        include = bool(present) if self._include_payloads is None else self._include_payloads
        if present != (withheld if include else frozenset()):
            expected = "as every record here has it" if include else "in none of the records"
            name = min(present ^ withheld) if include else min(present)
            raise VerificationError(f"{name}: expected {expected}, got {'no such field' if include else 'a value'}")
        self._include_payloads = include

    def _check_signed(self, record: Mapping[str, object]) -> None:
        if ("signature" in record) != self._signed:
            expected, got = ("a signature", "none") if self._signed else ("none", "a signature")
            raise VerificationError(f"signature: expected {expected} as in the records before, got {got}")

    def _check_signature(self, record: Mapping[str, object]) -> None:
        signature = record.get("signature")
        if self._signed and not (isinstance(signature, str) and _SIGNATURE.fullmatch(signature)):
            raise VerificationError(f"signature: expected 64 hexadecimal digits, got {_shown(signature)}")
        if self._key is None:
            return
        if not isinstance(signature, str):
            raise VerificationError("signature: expected one by the key given, got an unsigned export")
        if not hmac.compare_digest(signature, signature_of(record, self._key)):
            raise VerificationError(
                f"signature: expected one by the key given, got {signature}: the record was altered, or signed with"
                " another key"
            )


def _shown(value: object) -> str:
    """The value as JSON, as much of it as a message can hold."""
    text = canonical_json(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}... ({len(text)} characters)"


def _known_type(record: Mapping[str, object]) -> RecordType[AuditRecord]:
    name = record.get("record_type")
    found = RECORD_TYPES.get(name) if isinstance(name, str) else None
    if found is None:
        raise VerificationError(f"record_type: expected one of {', '.join(RECORD_TYPES)}, got {_shown(name)}")
    return found


def _check_flat(record: Mapping[str, object]) -> None:
    for name, value in record.items():
        if isinstance(value, dict | list):
            kind = "an object" if isinstance(value, dict) else "an array"
            raise VerificationError(f"{name}: expected text, a number, a boolean or null, got {kind}")


def _contract(record_type: RecordType[AuditRecord], record: Mapping[str, object]) -> AuditRecord:
    try:
        return mapper(record_type).from_record(record)
    except AuditIntegrityError as error:
        raise VerificationError(str(error)) from error


def _check_names(given: AbstractSet[str], expected: AbstractSet[str]) -> None:
    for name in sorted(given ^ expected):
        expected_field, got = ("no field of this name", "one") if name in given else ("this field", "none")
        raise VerificationError(f"manifest: {name}: expected {expected_field}, got {got}")
