"""What must hold for a complete, unaltered export, checked record by record.

For each record:

1. Its type is known and it is flat.
2. The run comes first, types come in export order, and all records are of one run.
3. It keeps the rules of its epoch: those of today's schema, or what the snapshot of an older one tells of its columns.
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
from elspeth.core.landscape.exporting.record_forms import RecordForm, forms_of
from elspeth.core.landscape.exporting.signing import MANIFEST, ManifestBuilder, signature_of
from elspeth.core.landscape.records.mapping import mapper
from elspeth.schema.checks import AuditIntegrityError
from elspeth_schema import EPOCH
from elspeth_schema.contracts import AuditRecord
from elspeth_schema.records import RECORD_TYPES

__all__ = ["Checked", "ExportSummary", "ExportVerifier", "RulesError", "VerificationError"]

_Key = tuple[str | int, ...]

_LONGEST = 200
"""How much of a value a message shows, in characters."""

_SIGNATURE = re.compile("[0-9a-f]{64}")


class VerificationError(Exception):
    """What was expected of a record and what was found."""


class RulesError(VerificationError):
    """A record that does not keep the rules of the epoch that was supposed."""


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
    """The type of a record, and its contract or, in an older epoch, its row; none for a line known to be sound."""

    record_type: str
    contract: AuditRecord | None
    row: dict[str, object] | None


class ExportVerifier:
    """Follows one export, of an epoch that this version knows, from its first record to its manifest."""

    def __init__(self, epoch: int, signing_key: bytes | None = None) -> None:
        self._epoch = epoch
        self._forms = forms_of(epoch)
        self._positions = {name: position for position, name in enumerate(self._forms)}
        self._key = signing_key
        self._builder = ManifestBuilder()
        self._form: RecordForm | None = None
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
        form = self._known(record)
        if not sound:
            _check_flat(record)
        self._check_place(form, record)
        contract, row = (None, None) if sound else self._check_rules(form, record)
        self._check_key(form, record)
        self._check_likeness(form, record)
        self._check_signature(record)
        self._form = form
        self._builder.add(record, line)
        return Checked(form.name, contract, row)

    def _known(self, record: Mapping[str, object]) -> RecordForm:
        name = record.get("record_type")
        found = self._forms.get(name) if isinstance(name, str) else None
        if found is None:
            raise RulesError(f"record_type: expected one of {', '.join(self._forms)}, got {_shown(name)}")
        return found

    def _check_rules(
        self, form: RecordForm, record: Mapping[str, object]
    ) -> tuple[AuditRecord | None, dict[str, object] | None]:
        try:
            if self._epoch == EPOCH:
                return mapper(RECORD_TYPES[form.name]).from_record(record), None
            return None, form.row(record)
        except (AuditIntegrityError, ValueError) as error:
            raise RulesError(str(error)) from error

    def _check_manifest(self, record: Mapping[str, object]) -> ExportSummary:
        if self._form is None:
            raise VerificationError("expected the run record first, got a manifest")
        include_payloads = record.get("withheld") == [] if self._include_payloads is None else self._include_payloads
        expected = self._builder.manifest(signed=self._signed, include_payloads=include_payloads, epoch=self._epoch)
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

    def _check_place(self, form: RecordForm, record: Mapping[str, object]) -> None:
        if self._form is None:
            if self._positions[form.name] != 0:
                raise VerificationError(f"expected the run record first, got a {form.name} record")
            self._run_id = record.get("run_id")
            self._signed = "signature" in record
            return
        if self._positions[form.name] < self._positions[self._form.name]:
            expected = f"a {self._form.name} record, or one of a later type"
            raise VerificationError(f"expected {expected}, got a {form.name} record")
        if record.get("run_id") != self._run_id:
            expected = f"{_shown(self._run_id)} as in the records before"
            raise VerificationError(f"run_id: expected {expected}, got {_shown(record.get('run_id'))}")

    def _check_key(self, form: RecordForm, record: Mapping[str, object]) -> None:
        # The rules vouch for the types; text is ordered by code point, in Python as in both databases.
        key = cast("_Key", tuple(record[name] for name in form.order))
        if form is self._form and not self._last_key < key:
            names = ", ".join(form.order[1:] or form.order)
            last, this = (" ".join(map(repr, each[1:] or each)) for each in (self._last_key, key))
            raise VerificationError(f"{names}: expected a value after {last}, got {this}: repeated, or out of order")
        self._last_key = key

    def _check_likeness(self, form: RecordForm, record: Mapping[str, object]) -> None:
        self._check_signed(record)
        withheld = form.withheld
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


def _check_flat(record: Mapping[str, object]) -> None:
    for name, value in record.items():
        if isinstance(value, dict | list):
            kind = "an object" if isinstance(value, dict) else "an array"
            raise VerificationError(f"{name}: expected text, a number, a boolean or null, got {kind}")


def _check_names(given: AbstractSet[str], expected: AbstractSet[str]) -> None:
    for name in sorted(given ^ expected):
        expected_field, got = ("no field of this name", "one") if name in given else ("this field", "none")
        raise VerificationError(f"manifest: {name}: expected {expected_field}, got {got}")
